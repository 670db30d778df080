"""The commands over HTTP: what `commands.COMMANDS` lists, as JSON."""
