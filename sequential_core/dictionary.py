"""What small things are compressed with: bytes that are often in them.

A state or a document of a kilobyte is too short to repeat itself; it repeats what others like it have. The
dictionary is such content, as it is: zstd's own format for dictionaries adds tables of entropy, which save 30 bytes
and can only be made by one release of one library. Frames have no magic number and no size, 6 bytes that whoever
keeps them knows.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar

import zstandard

_T = TypeVar("_T")

# Of the 3.4 KB of the reference program at its second pause, level 3 leaves 707 bytes in 80 us, 5 640 in 97, 6 619 in
# 142 and 8 585 in 160: within a hop, on a slow machine, where what zstd looks into is not in the processor's caches.
# Its tables are of a size for small things: for those of unknown size, level 6 took 153 us.
_LEVEL = 5
_TYPICAL_BYTES = 1 << 12

# In the first byte of a frame: it says how large its content is. zstandard believes that, and no limit then.
_SAYS_ITS_SIZE = 0b1110_0000

# What a compressor worked on it keeps room for: a little more than twice as much.
_KEPT_BYTES = 4 << 20


class Dictionary:
    """Compresses with known content. May be used by several threads at once.

    Args:
        content: what is often in the data; the most frequent at its end. Empty: nothing is known.
        level: of zstd.
    """

    def __init__(self, content: bytes, level: int = _LEVEL) -> None:
        sizes = {"source_size": _TYPICAL_BYTES, "dict_size": len(content)} if content else {}
        self._parameters = zstandard.ZstdCompressionParameters.from_level(
            level, write_content_size=False, write_dict_id=False, format=zstandard.FORMAT_ZSTD1_MAGICLESS, **sizes
        )
        self._data = None
        if content:
            self._data = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            self._data.precompute_compress(compression_params=self._parameters)
        # Not in use now. An object of zstd is used by one thread at a time, and making one takes as long as its work.
        self._compressors: list[zstandard.ZstdCompressor] = []
        self._decompressors: list[zstandard.ZstdDecompressor] = []
        self.decompress(self.compress(b"once"), 4)  # what zstd makes at the first use is then made, by one thread

    def compress(self, raw: bytes) -> bytes:
        """The bytes of which `decompress` makes these again."""
        compressor = _pop(self._compressors) or zstandard.ZstdCompressor(
            dict_data=self._data, compression_params=self._parameters
        )
        compressed = compressor.compress(raw)
        if len(raw) <= _KEPT_BYTES:
            self._compressors.append(compressor)
        return compressed

    def decompress(self, compressed: bytes, size: int) -> bytes:
        """What was compressed, not more than `size` bytes.

        Raises:
            zstandard.ZstdError: it was not compressed with this dictionary, is damaged, or is larger.
            MemoryError: there is no room for so many bytes.
        """
        if compressed and compressed[0] & _SAYS_ITS_SIZE:
            raise zstandard.ZstdError("the frame says its size, as none of `compress` does")
        decompressor = _pop(self._decompressors) or zstandard.ZstdDecompressor(
            dict_data=self._data, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )
        raw = decompressor.decompress(compressed, max_output_size=size)
        self._decompressors.append(decompressor)
        return raw


def _pop(idle: list[_T]) -> _T | None:
    with contextlib.suppress(IndexError):  # another thread may have been quicker than any look before
        return idle.pop()
    return None
