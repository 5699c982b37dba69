"""Server-Sent Events and long polling, whichever server carries them."""
