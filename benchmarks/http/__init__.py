"""What the HTTP door and the page cost."""
