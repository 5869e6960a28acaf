"""Compression with known content."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sequential_core.dictionary import Dictionary

CONTENT = b"".join(b"the answer number %d is known; " % number for number in range(500))
DICTIONARY = Dictionary(CONTENT)


@given(st.binary(max_size=300) | st.integers(0, 10_000).map(lambda at: CONTENT[at : at + 2000]))
def test_what_is_compressed_is_decompressed(raw):
    assert DICTIONARY.decompress(DICTIONARY.compress(raw), len(raw) + 1) == raw


def test_known_content_takes_next_to_nothing():
    # A frame's header, a block's, one match and its offset; without the dictionary the digits alone are more.
    assert len(DICTIONARY.compress(CONTENT[5000:5900])) < 24 < len(zstandard.compress(CONTENT[5000:5900]))


def test_more_than_the_limit_is_refused():
    compressed = DICTIONARY.compress(bytes(1000))
    assert DICTIONARY.decompress(compressed, 1000) == bytes(1000)
    with pytest.raises(zstandard.ZstdError):
        DICTIONARY.decompress(compressed, 999)


@pytest.mark.parametrize("size", [200, 10_000, 100_000, 50_000_000])
def test_a_frame_that_says_its_size_is_refused_and_not_unpacked(size):
    """Each number of bytes that zstd has for a size. zstandard would unpack to that, whatever the limit."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, write_content_size=True, write_dict_id=False, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(zstandard.ZstdError):
            DICTIONARY.decompress(bomb, 1000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("damaged", [b"", b"\0", b"no frame at all", DICTIONARY.compress(CONTENT[:900])[:-1]])
def test_what_is_no_frame_is_refused(damaged):
    with pytest.raises(zstandard.ZstdError):
        DICTIONARY.decompress(damaged, 1000)
    assert DICTIONARY.decompress(DICTIONARY.compress(b"next"), 4) == b"next"


def test_two_dictionaries_of_the_same_content_are_the_same():
    raw = CONTENT[7000:7100]
    assert Dictionary(CONTENT).decompress(DICTIONARY.compress(raw), len(raw)) == raw


def test_threads_share_a_dictionary():
    raws = [CONTENT[at : at + 3000] for at in range(0, 9000, 45)]

    def there_and_back(raw):
        return DICTIONARY.decompress(DICTIONARY.compress(raw), len(raw))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(there_and_back, raws)) == raws
