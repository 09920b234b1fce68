"""The server and its page: `app.create_app()` makes the application, `scratchnet serve` runs it."""
