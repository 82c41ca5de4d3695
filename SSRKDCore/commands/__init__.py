"""One file a subcommand of `ssrkd`: `HELP`, `add_arguments(parser)` and `run(args)`, which returns what --json prints."""
