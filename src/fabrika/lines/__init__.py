"""Business lines: plug-ins that happen to live here."""
