"""A command as a process: arguments, settings, mistakes, its streams, and the launcher that started it."""
