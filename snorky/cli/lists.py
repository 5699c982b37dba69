"""What ``snorky serve`` serves where it is given no FILE: the lists of a web application.

Lists that are asked for again when something changed, by the dealer ``refetch``, need no more.
"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService

datasync = DataSyncService("datasync")
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
