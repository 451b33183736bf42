"""A small Trio client of the protocol, for programs, for tests, and for the command line.

::

    async with open_client("127.0.0.1", 11210) as client:
        await client.set(b"key", b"value")
        print((await client.get(b"key")).value)
"""

from .._formats import Collection as Collection
from .._formats import Scope as Scope
from ..mcbp import Document as Document
from ..mcbp import FragmentRequest as FragmentRequest
from ..mcbp import SnapshotRequirements as SnapshotRequirements
from ._backup import BackupResult as BackupResult
from ._backup import backup_server as backup_server
from ._backup_directory import check_backup_directory as check_backup_directory
from ._backup_directory import is_complete_backup as is_complete_backup
from ._backup_directory import read_manifest as read_manifest
from ._client import Client as Client
from ._client import StoredValue as StoredValue
from ._collections import Collections as Collections
from ._errors import AccessError as AccessError
from ._errors import AnswerTimeoutError as AnswerTimeoutError
from ._errors import AuthenticationError as AuthenticationError
from ._errors import BackupError as BackupError
from ._errors import BusyError as BusyError
from ._errors import CertificateError as CertificateError
from ._errors import ChecksumError as ChecksumError
from ._errors import ClientError as ClientError
from ._errors import ConnectionLostError as ConnectionLostError
from ._errors import EncryptionError as EncryptionError
from ._errors import ExistsError as ExistsError
from ._errors import LockedError as LockedError
from ._errors import NoBucketError as NoBucketError
from ._errors import NotANumberError as NotANumberError
from ._errors import NotFoundError as NotFoundError
from ._errors import NotStoredError as NotStoredError
from ._errors import ScanCancelledError as ScanCancelledError
from ._errors import ServerError as ServerError
from ._errors import TemporaryFailureError as TemporaryFailureError
from ._errors import TooBigError as TooBigError
from ._errors import UnknownCollectionError as UnknownCollectionError
from ._errors import UnreachableError as UnreachableError
from ._files import Manifest as Manifest
from ._files import ManifestFile as ManifestFile
from ._files import parse_manifest as parse_manifest
from ._open import ANSWER_TIMEOUT as ANSWER_TIMEOUT
from ._open import open_client as open_client
from ._scans import Documents as Documents
from ._statistics import Statistics as Statistics
from ._xattrs import unpack_xattrs as unpack_xattrs
