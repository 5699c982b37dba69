"""Seeds with databases that tell their changes themselves, by triggers or by an ORM.

python -m tests.convergence.seeds [--seeds 1-20] [--mode MODE ...] [--breakage NAME]

The ORMs take turns with the databases: seeds that are odd have PostgreSQL, the others SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.convergence.databases import Postgresql, Sqlite
from tests.convergence.orm.database import OrmPostgresql, OrmSqlite
from tests.convergence.orm.run import ORMS, OrmRun
from tests.convergence.outbox import MODES as TRIGGERS
from tests.convergence.outbox import Run
from tests.convergence.run import Outcome
from tests.servers import Postgres, run_postgres

MODES = (*TRIGGERS, *ORMS)


async def run_seed(seed: int, mode: str, postgres: Postgres, breakage: str = "") -> Outcome:
    outcome = Outcome(seed, mode)
    orm = mode in ORMS
    with tempfile.TemporaryDirectory() as folder:
        if mode == "sqlite" or (orm and seed % 2 == 0):
            path = Path(folder) / "app.sqlite"
            if orm:
                return await OrmRun(outcome, OrmSqlite(path), folder, None).run()
            return await Run(outcome, Sqlite(path), folder, None, breakage).run()
        postgres.start()
        with postgres.database() as url:
            if orm:
                return await OrmRun(outcome, OrmPostgresql(url), folder, postgres).run()
            return await Run(outcome, Postgresql(url), folder, postgres, breakage).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--breakage", default="")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    failed = 0
    with run_postgres() as postgres:
        for seed in range(int(first), int(last or first) + 1):
            for mode in options.mode or MODES:
                outcome = asyncio.run(run_seed(seed, mode, postgres, options.breakage))
                print(outcome, flush=True)
                failed += bool(outcome.problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
