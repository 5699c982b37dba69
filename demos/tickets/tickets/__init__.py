"""Some thousand tickets and several lists of them: the web application's side."""
