"""Every key, stream and group on the bus, and how long each lives.

A call's keys share the hash tag `{call}`, so a script over them stays in one slot. Each gets an
EXPIRE with every write: a call that nobody finishes frees its memory by itself.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from bus.board import BoardKeys
from calls.ids import CallId, ReplyId

PoolName = Literal["asr", "llm", "tts", "recorder"]
POOLS: Final[tuple[PoolName, ...]] = get_args(PoolName)
#: What jobs wait for: a pool, or (dial) an ingress that places calls, by SIP or by a carrier.
DialQueue = Literal["dial", "dial_twilio"]
QueueName = Literal[PoolName, DialQueue]

#: Lifecycle of all calls, for whoever wants to know: capped, approximately.
CALLS: Final = "calls"
CALLS_MAXLEN: Final = 10_000

#: Calls in progress: member call, score the last sign of life of its ingress (epoch ms).
LIVE: Final = "calls:live"

#: A call's keys live this long after the last write to them, s.
CALL_TTL_S: Final = 3600
#: ... and this long once the recorder has made rows of them: late readers may still finish.
RECORDED_TTL_S: Final = 60

#: Four hours of 20 ms frames, the longest a call may be: a cap for safety. Audio that is not to be
#: recorded is trimmed as it is heard.
AUDIO_MAXLEN: Final = 720_000

#: The cache of speech (bus/speech_cache.py): a hash of the audio by key, and when each was used
#: last and made (sorted sets, epoch ms).
SPEECH: Final = "speech:{cache}:audio"
SPEECH_USED: Final = "speech:{cache}:used"
SPEECH_MADE: Final = "speech:{cache}:made"
#: Which call asked first for what the cache does not have.
SPEECH_ASKED: Final = "speech:{cache}:asked"


def jobs(pool: QueueName) -> str:
    """The pool's queue: one entry per call, turn, sentence, ended call, or call to be placed."""
    return f"jobs:{pool}"


def failures(pool: QueueName) -> str:
    """How often each job of the queue has failed."""
    return f"jobs:{pool}:failures"


def group(pool: QueueName) -> str:
    """The pool's consumer group on its queue."""
    return f"pool:{pool}"


def audio_in(call: CallId) -> str:
    """What the caller says, one entry per 20 ms frame."""
    return f"{{{call}}}:in"


def audio_out(call: CallId) -> str:
    """What the agent says, in chunks that name their reply, sentence and offset."""
    return f"{{{call}}}:out"


def events(call: CallId) -> str:
    """The call's log."""
    return f"{{{call}}}:events"


def facts(call: CallId) -> str:
    """The keys of the facts in the log: what makes an entry come once."""
    return f"{{{call}}}:facts"


def owners(call: CallId) -> str:
    """Per task of the call: its owner's epoch and checkpoint."""
    return f"{{{call}}}:owners"


def call_keys(call: CallId) -> tuple[str, ...]:
    """All keys of a call."""
    return (audio_in(call), audio_out(call), events(call), facts(call), owners(call))


#: The task of placing a call, in `owners`.
DIAL_TASK: Final = "dial"

#: Calls that are to be hung up, for the ingress that carries or places them: capped.
CANCELS: Final = "dial:cancel"
CANCELS_MAXLEN: Final = 1000


def refused(call: CallId) -> str:
    """Why a call was not placed, for people; it never had a log."""
    return f"{{{call}}}:refused"


def cancelled(call: CallId) -> str:
    """There if nobody wants the call any more, for an ingress that has not begun it."""
    return f"{{{call}}}:cancelled"


def reply_task(reply: ReplyId) -> str:
    """The task of writing a reply, in `owners`."""
    return f"llm:{reply}"


def sentence_task(reply: ReplyId, index: int) -> str:
    """The task of speaking a sentence, in `owners`: its checkpoint is how far it stands, samples.

    -1 is the whole of it. It has no epoch: see bus/speech.py.
    """
    return f"tts:{reply}:{index}"


#: Live processes: a hash of what each says of itself, a sorted set of when it last did, and since
#: when the bus knows (ms, by the server's clock).
PROCESSES: Final = "processes"
PROCESSES_SEEN: Final = "processes:seen"
PROCESSES_SINCE: Final = "processes:since"
PRESENCE: Final = BoardKeys(PROCESSES, PROCESSES_SEEN, PROCESSES_SINCE)

#: What live ingresses say of their trunks and phones, the same way.
LINES: Final = BoardKeys("lines", "lines:seen", "lines:since")


def bindings(place: str) -> str:
    """Where the phones are that registered at the ingress which listens there."""
    return f"sip:bindings:{place}"


def process(role: str, host: str, pid: int) -> str:
    """A live process, in both."""
    return f"{role}:{host}:{pid}"
