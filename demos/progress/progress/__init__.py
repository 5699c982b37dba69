"""The Django project of the demo: a page with progress bars, and what does the jobs."""
