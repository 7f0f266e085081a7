"""What acts on a project as a whole: registering, forgetting, looking after its state."""
