"""The inbox of a machine that has no mail server: takes every mail for everybody, and shows it to whoever develops."""
