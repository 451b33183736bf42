"""The memcached binary protocol with Couchbase's extensions, sans-IO: bytes in, frames out.

Imports neither trio, socket nor threading, and nothing else of this project.
"""

from ._decoder import NEED_DATA as NEED_DATA
from ._decoder import Event as Event
from ._decoder import NeedData as NeedData
from ._decoder import Rejected as Rejected
from ._decoder import RequestDecoder as RequestDecoder
from ._decoder import ResponseDecoder as ResponseDecoder
from ._errors import LocalProtocolError as LocalProtocolError
from ._errors import ProtocolError as ProtocolError
from ._errors import RemoteProtocolError as RemoteProtocolError
from ._features import DataType as DataType
from ._features import Feature as Feature
from ._frames import GET_HIT as GET_HIT
from ._frames import HEADER as HEADER
from ._frames import MAX_FRAME as MAX_FRAME
from ._frames import MAX_KEY as MAX_KEY
from ._frames import MAX_VALUE as MAX_VALUE
from ._frames import Request as Request
from ._frames import Response as Response
from ._frames import encode_get_hit as encode_get_hit
from ._frames import encode_request as encode_request
from ._frames import encode_response as encode_response
from ._framing import FrameInfo as FrameInfo
from ._framing import FrameInfoId as FrameInfoId
from ._framing import decode_server_duration as decode_server_duration
from ._framing import encode_frame_infos as encode_frame_infos
from ._framing import encode_server_duration as encode_server_duration
from ._framing import parse_frame_infos as parse_frame_infos
from ._leb128 import decode_leb128 as decode_leb128
from ._leb128 import encode_leb128 as encode_leb128
from ._leb128 import split_collection as split_collection
from ._opcodes import LOUD as LOUD
from ._opcodes import Magic as Magic
from ._opcodes import Opcode as Opcode
from ._opcodes import opcode_name as opcode_name
from ._shapes import SHAPES as SHAPES
from ._shapes import KeyRule as KeyRule
from ._shapes import Shape as Shape
from ._status import STATUS_TEXT as STATUS_TEXT
from ._status import Status as Status
from ._status import status_text as status_text
