"""What the web application does for somebody who is logged in: python make_token.py alice"""

import os
import sys
import time

import jwt

claims = {"sub": sys.argv[1], "aud": "live", "exp": int(time.time()) + 600}
print(jwt.encode(claims, os.environ["TOKEN_SECRET"], algorithm="HS256"))
