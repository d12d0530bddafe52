"""Ids that we choose, so that a repeat collides in Flink instead of doing a thing twice."""

from __future__ import annotations

import hashlib


def trigger_id(nonce: str, job_id: str, purpose: str, epoch: int, attempt: int) -> str:
    """Id of a stop or savepoint operation: the same for every repeat of one request, never shared between purposes."""
    return _hex("trigger", nonce, job_id, purpose, epoch, attempt)


def start_id(parent_job_id: str, checkpoint_id: int, attempt: int) -> str:
    """Job id of a start from a state: two rivals that start the same state choose the same id and collide in Flink."""
    return _hex("start", parent_job_id, checkpoint_id, attempt)


def first_start_id(nonce: str, epoch: int, attempt: int) -> str:
    """Job id of a start without state."""
    return _hex("first", nonce, epoch, attempt)


def ledger_entry_id(nonce: str, epoch: int | None, action: str, subject: str) -> str:
    """Id of a ledger entry: the same for every retry of one act; ``subject`` is what the act made or took."""
    return _hex("ledger", nonce, epoch, action, subject)


def _hex(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:32]
