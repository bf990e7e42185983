"""python -m files DIRECTORY PORT: serves the shares of the account in AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY."""

import os
import sys
from pathlib import Path

from aiohttp import web

from files.auth import Account
from files.server import application

if __name__ == "__main__":
    account = Account(os.environ["AZURE_ACCOUNT_NAME"], os.environ["AZURE_ACCOUNT_KEY"])
    web.run_app(application(Path(sys.argv[1]), account), port=int(sys.argv[2]), access_log=None)
