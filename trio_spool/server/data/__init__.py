"""What is stored: buckets, their manifests, and how their keys are laid out. Knows no connection and no protocol."""

from ._accesses import Accesses as Accesses
from ._bucket import SWEEP as SWEEP
from ._bucket import Bucket as Bucket
from ._bucket import OutcomeUnknownError as OutcomeUnknownError
from ._bucket_directories import BUCKETS_DIRECTORY as BUCKETS_DIRECTORY
from ._bucket_directories import DEFAULT_BUCKET as DEFAULT_BUCKET
from ._bucket_directories import bucket_names_in_thread as bucket_names_in_thread
from ._bucket_directories import directory_of as directory_of
from ._bucket_directories import remove_remains_in_thread as remove_remains_in_thread
from ._bucket_options import BucketOptions as BucketOptions
from ._buckets import BucketError as BucketError
from ._buckets import BucketExistsError as BucketExistsError
from ._buckets import Buckets as Buckets
from ._buckets import NoBucketError as NoBucketError
from ._keys import prefix_of as prefix_of
from ._keys import space_of as space_of
from ._keys import vbucket_of as vbucket_of
from ._manifest import DEFAULT_SCOPE as DEFAULT_SCOPE
from ._manifest import Manifest as Manifest
from ._manifest import ManifestChangeError as ManifestChangeError
from ._manifest import ManifestError as ManifestError
from ._manifest import StillRemovingError as StillRemovingError
from ._manifest import parse_manifest as parse_manifest
from ._spent import Spent as Spent
from ._virtual import NANOSECONDS as NANOSECONDS
from ._virtual import virtual_attributes as virtual_attributes
