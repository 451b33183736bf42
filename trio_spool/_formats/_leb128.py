"""Unsigned LEB128, the encoding of collection ids and of lengths in scans: seven bits in each byte, the lowest first."""

from __future__ import annotations

# A collection id has 32 bits, which take five bytes.
MAX_LEB128_BYTES = 5


def encode_leb128(number: int) -> bytes:
    """Encode a number from 0 to 2**32 - 1.

    Raises:
        ValueError: The number is out of this range.
    """
    if not 0 <= number < 1 << 32:
        raise ValueError(f"a LEB128 number must be 0 to 2**32 - 1; got {number}")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_leb128(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Decode the number at an offset.

    Returns:
        The number, and the offset of the byte after it.

    Raises:
        ValueError: The data ends in the middle of the number, or the number does not fit in 32 bits.
    """
    number = 0
    for index, byte in enumerate(data[offset : offset + MAX_LEB128_BYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if number >= 1 << 32:
                break
            return number, offset + index + 1
    raise ValueError("a LEB128 number is cut off or longer than 32 bits")
