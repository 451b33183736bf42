"""Users, their roles, and logins with SCRAM. Blocking code that knows no event loop and no protocol."""

from ._changing import changing_users as changing_users
from ._errors import AuthError as AuthError
from ._errors import ScramError as ScramError
from ._errors import UsersError as UsersError
from ._saslprep import saslprep as saslprep
from ._scram import MECHANISMS as MECHANISMS
from ._scram import ScramExchange as ScramExchange
from ._scram import ScramKeys as ScramKeys
from ._scram import derive_keys as derive_keys
from ._scram import matches as matches
from ._users import ITERATIONS as ITERATIONS
from ._users import MIN_ITERATIONS as MIN_ITERATIONS
from ._users import Role as Role
from ._users import User as User
from ._users import Users as Users
from ._users import check_bucket as check_bucket
from ._users import make_user as make_user
from ._users_file import load_users as load_users
from ._users_file import save_users as save_users
