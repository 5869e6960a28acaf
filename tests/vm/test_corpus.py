"""The dictionary of the guest, and the programs that it is made of."""

from __future__ import annotations

import pytest
from support import suspended

from bench.workloads import PAUSING, REFERENCE
from sequential_core import state as codec
from sequential_core.vm import corpus, wasm
from sequential_core.vm import guest as guests

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python


def shared(*groups: list[bytes], size: int = 1000) -> bytes:
    return corpus.common_content(groups, size)


# Each at least as long as a piece, and no two share eight bytes.
ONE, TWO, THREE = b"the first of three things", b"AND ANOTHER ONE HERE", b"ABCDEFGHIJ0123456789"


def test_what_is_common_is_taken_once():
    groups = [[b"a" * number + ONE + ONE] for number in range(3)]
    assert shared(*groups).count(ONE) == 1


def test_what_few_programs_have_is_left_out_however_often_they_have_it():
    assert shared([ONE, ONE], [ONE], [TWO]) == b""


def test_the_most_frequent_comes_last():
    assert shared([ONE, TWO], [ONE, TWO], [ONE, TWO], [ONE]) == TWO + ONE


def test_what_is_too_much_is_cut_off_where_it_is_rare():
    assert shared([ONE, TWO], [ONE, TWO], [ONE, TWO], [ONE], size=30) == (TWO + ONE)[-30:]


def test_what_lies_between_two_common_stretches_is_taken_along():
    groups = [[ONE + b"<" + bytes([number]) * 9 + b">" + THREE] for number in range(3)]
    assert shared(*groups) == groups[0][0]


def test_stretches_far_apart_are_pieces_of_their_own():
    groups = [[ONE + bytes([number]) * 200 + THREE] for number in range(3)]
    assert bytes([1]) * 9 not in shared(*groups)


def test_no_program_of_a_benchmark_is_in_the_corpus():
    of_benchmarks = {REFERENCE, *(program.javascript for program in PAUSING)}
    for sample in corpus.samples():
        assert sample.code not in of_benchmarks
        assert "api.example.com" not in sample.code


@pytest.mark.parametrize("sample", corpus.samples(), ids=lambda sample: str(sample.number))
def test_every_program_of_the_corpus_pauses(sample):
    assert next(corpus.bodies(guests.current(), sample))


def test_samples_are_the_same_each_time():
    first = [list(corpus.bodies(guests.current(), sample)) for sample in corpus.samples()[25:32]]  # with timers
    assert first == [list(corpus.bodies(guests.current(), sample)) for sample in corpus.samples()[25:32]]


@pytest.mark.slow
def test_the_dictionary_of_the_pinned_guest_is_made_of_the_corpus():
    module = (guests.DIRECTORY / f"{guests.current().sha256}.wasm").read_bytes()
    content = wasm.custom_section(module, guests.DICTIONARY_SECTION)
    assert content is not None
    without = module.removesuffix(wasm.with_custom_section(b"", guests.DICTIONARY_SECTION, content))
    assert len(without) < len(module)
    assert corpus.dictionary(without) == content


def test_a_state_of_a_small_program_is_compressed_with_the_dictionary():
    outcome = suspended(REFERENCE)
    packed = codec.read(outcome.state)
    assert packed.packing is codec.Packing.DICTIONARY
    # Without it half of its body would be left.
    assert len(outcome.state) < packed.size / 4
