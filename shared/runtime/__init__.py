"""What a process needs: settings, the process tree, the console."""
