"""Whether a compressed file is whole."""

import os
import zlib

# bytes at a time, packed and unpacked
_CHUNK = 2**20
# a gzip stream, its header and its checksum included
_GZIP = 31
_MAGIC = b"\x1f\x8b"


def require_whole_gzip(path: str | os.PathLike[str], most: int) -> None:
    """Compare the checksum of a gzip file with its contents.

    Readers of images stop at the last voxel, before the checksum, and would take flipped bits for
    values. What follows the last stream is passed over, as ITK does.

    Args:
        path: Of a file; one that is not compressed is whole.
        most: Unpacked bytes after which nothing more is read: what is that much longer than its
            image was packed to take long.

    Raises:
        zlib.error: If the contents are others than those that were written.
        EOFError: If the file is cut short.
    """
    unpacked = 0
    with open(path, "rb") as file:
        rest = file.read(_CHUNK)
        while rest.startswith(_MAGIC) and unpacked <= most:
            stream = zlib.decompressobj(_GZIP)
            while not stream.eof and unpacked <= most:
                if not rest:
                    raise EOFError("the compressed file is cut short")
                unpacked += len(stream.decompress(rest, _CHUNK))
                rest = stream.unconsumed_tail or stream.unused_data or file.read(_CHUNK)
