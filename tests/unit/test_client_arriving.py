"""The MD5 of what arrives."""

from __future__ import annotations

import hashlib
import os
import threading

from gobbler.client.arriving import ArrivingMd5


def test_it_is_that_of_all_pieces_in_their_order():
    pieces = [os.urandom(1 + number * 1000) for number in range(50)]
    with ArrivingMd5() as digest:
        assert digest.hexdigest() == hashlib.md5().hexdigest()
        for piece in pieces:
            digest.update(piece)
        assert digest.size == sum(map(len, pieces))
        assert digest.hexdigest() == hashlib.md5(b"".join(pieces)).hexdigest()
        digest.update(b"more")
        assert digest.hexdigest() == hashlib.md5(b"".join(pieces) + b"more").hexdigest()


def test_what_came_before_a_reset_does_not_count_and_no_thread_stays():
    before = threading.active_count()
    with ArrivingMd5() as digest:
        digest.update(b"wrong")
        digest.reset()
        assert digest.size == 0
        digest.update(b"right")
        assert digest.hexdigest() == hashlib.md5(b"right").hexdigest()
    assert threading.active_count() == before
