"""A read-only document over plain types, made once into functions from rows to JSON (ADR 21).

Who may see what, and how fresh it is, is decided by the same functions as everywhere: `roots` and `tables` name them.
What is not in a table is answered by Strawberry, and so is everything that fails here in a way only it can tell.

    tables       which fields there are, and how each is read from a row
    roots        where a query begins
    compiling    a document and its tables -> a plan
    shapes       what a plan is made of: columns over many rows
    answering    a plan and a request -> an answer
"""
