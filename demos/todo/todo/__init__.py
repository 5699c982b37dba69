"""A to-do list that is the same in every window: the web application's side."""
