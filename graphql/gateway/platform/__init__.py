"""How the platform is doing."""
