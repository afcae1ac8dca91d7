"""The labelled cases: what the agent asked, what the caller says, and what ought to happen.

`said` is a turn of the caller: stretches of sound (names of sounds.py, joined by " + ") and the
pauses between them in ms. The turn's true end is the end of its last stretch. Labels are what a
person would do, written before the rules were tried on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Kind = Literal[
    "answer", "hesitation", "backchannel", "barge_in", "echo", "echo_barge_in", "noise", "babble"
]
HELP: Final = "How can I help you?"
PHONE: Final = "What is your phone number?"
ACCOUNT: Final = "What is your account number?"
DAY: Final = "Which day would suit you?"
NAME: Final = "What is your name?"
SURE: Final = "Shall I book it for you?"
#: What the agent says while it is spoken over: about 9 s.
LONG: Final = (
    "We are open from Monday to Friday between nine in the morning and five in the afternoon, and "
    "on Saturdays until noon, but please remember to bring your insurance card when you come."
)


@dataclass(frozen=True)
class Case:
    """One call of one question."""

    kind: Kind
    name: str
    said: tuple[str | int, ...] = ()
    asked: str = HELP
    #: For speech over the agent: so long after the agent began, ms.
    over_ms: int | None = None
    #: The echo of the agent in the caller's audio: delay in ms; at -20 dB.
    echo_ms: int | None = None
    #: Noise in the caller's audio: its kind, and its level (dB: of the speech, or of full scale
    #: where there is no speech).
    noise: tuple[str, int] | None = None
    #: What the transcriber makes of an utterance in which nobody spoke.
    invents: str = ""
    #: What it makes of the caller's sounds, where that is not their words.
    transcript: str | None = None


def _answers() -> list[Case]:
    def answer(said: str, asked: str = HELP) -> Case:
        return Case("answer", said, (said,), asked)

    return [
        answer("vm-no", SURE),
        answer("vm-goodbye", "Is there anything else?"),
        answer("auth-thankyou", "It is booked. Is that all?"),
        answer("digits/day-2", DAY),
        answer("digits/day-5 + digits/a-m", "Which day would suit you, and when?"),
        answer("digits/tomorrow", DAY),
        answer("digits/at + digits/7", "What time would you like to come?"),
        answer("digits/7 + digits/p-m", "What time would you like to come?"),
        answer("digits/mon-4 + digits/h-3", "Which date would you like?"),
        answer("digits/20 + digits/5", "How many tablets do you have left?"),
        answer("digits/4 + digits/2 + digits/4 + digits/2", "What is your PIN?"),
        answer(" + ".join(f"digits/{digit}" for digit in "5552461570"), PHONE),
        answer("phonetic/m_p", NAME),
        answer("phonetic/c_p", NAME),
        answer("invalid@1", "What did the message say?"),
        answer("something-terribly-wrong", HELP),
        answer("please-try-again", "Shall I try once more?"),
        answer("im-sorry", "You were not there yesterday."),
        answer("one-moment-please + vm-goodbye", "Is there anything else?"),
        answer("vm-nonumber", "Who sent the message?"),
        answer("caller:rms-yes-please", SURE),
        answer("caller:rms-yes-that-is-right", "You are John Smith, is that right?"),
        answer("caller:awb-no-wednesday-please", "Is Monday all right?"),
        answer("caller:awb-on-tuesday-morning", DAY),
        answer("caller:rms-on-thursday", DAY),
        answer("caller:slt-in-the-afternoon", "In the morning or in the afternoon?"),
        answer("caller:awb-with-doctor-garcia", "With which doctor?"),
        answer("caller:awb-i-need-penicillin", "What do you need?"),
        answer("caller:rms-insulin-please", "Which medicine do you need?"),
        answer("caller:awb-when-do-you-open"),
        answer("caller:rms-what-are-your-opening-hours"),
        answer("caller:rms-how-do-i-find-the-clinic"),
        answer("caller:awb-that-is-all-thank-you", "Is there anything else?"),
        answer("caller:rms-sure", SURE),
        answer("caller:awb-i-want-to-see-doctor-garcia-on-monday"),
        answer("caller:rms-can-i-talk-to-a-human"),
        answer("caller:rms-i-need-a-refill-of-my-prescription"),
        answer("caller:awb-my-prescription-has-run-out"),
        answer("caller:rms-i-would-like-to-cancel-my-appointment"),
        answer("caller:awb-can-i-make-an-appointment-for-saturday-morning"),
    ]


def _digits(digits: str) -> str:
    return " + ".join(f"digits/{digit}" for digit in digits)


def _hesitations() -> list[Case]:
    def hesitation(*said: str | int, asked: str = HELP) -> Case:
        name = " ... ".join(each for each in said if isinstance(each, str))
        return Case("hesitation", name.replace("digits/", ""), said, asked)

    return [
        # A group of digits.
        hesitation(_digits("246"), 700, _digits("157"), 600, _digits("9020"), asked=PHONE),
        hesitation(_digits("555"), 1000, _digits("2461570"), asked=PHONE),
        hesitation(_digits("44"), 500, _digits("170"), 800, _digits("83665"), asked=PHONE),
        hesitation("vm-num-i-have", 600, _digits("5552461570")),
        hesitation("vm-num-i-have + " + _digits("555"), 900, _digits("2461570")),
        hesitation(_digits("4242"), 800, _digits("1880"), asked=ACCOUNT),
        hesitation(_digits("90"), 1200, _digits("317"), 500, _digits("6"), asked=ACCOUNT),
        hesitation(
            *(part for two in ("55", "52", "46", "15") for part in (_digits(two), 500)),
            _digits("70"),
            asked=PHONE,
        ),
        hesitation(
            *(part for four in ("4242", "1880", "3107") for part in (_digits(four), 900)),
            _digits("9912"),
            asked="What is the number of your credit card?",
        ),
        hesitation("extension + number + is", 700, _digits("1234"), asked="Which extension?"),
        # A word that asks for more.
        hesitation("vm-and", 600, "digits/day-2", asked=DAY),
        hesitation("digits/day-1 + vm-and", 900, "digits/day-3", asked=DAY),
        hesitation("vm-from", 500, "digits/9 + digits/a-m", asked="From when?"),
        hesitation("your", 800, "vm-message"),
        hesitation("vm-youhave", 1300, "digits/3 + vm-messages"),
        hesitation("conf-thereare", 700, "digits/4 + conf-otherinparty"),
        hesitation("vm-theperson", 1100, _digits("1234") + " + vm-isonphone"),
        hesitation("with", 400, "phonetic/c_p", asked="With whom?"),
        hesitation("queue-thereare", 900, "digits/6"),
        hesitation("digits/at", 1000, "digits/7 + digits/p-m", asked="What time?"),
        hesitation("at-tone-time-exactly", 700, "digits/8 + digits/oclock"),
        hesitation("time + is", 600, "digits/9 + digits/30"),
        hesitation("if-correct-press", 800, "digits/1"),
        hesitation("to-call-this-number", 500, "vm-press + digits/2"),
        # A clause that only sounds complete; each half as a person said it in one go.
        hesitation("ss-noservice@1", 500, "ss-noservice@2"),
        hesitation("agent-alreadyon@1", 700, "agent-alreadyon@2"),
        hesitation("conf-invalid@1", 400, "conf-invalid@2"),
        hesitation("queue-periodic-announce@1", 900, "queue-periodic-announce@2"),
        hesitation("tt-allbusy@1", 600, "tt-allbusy@2"),
        hesitation("pbx-invalidpark@1", 450, "pbx-invalidpark@2"),
        hesitation("vm-invalid-password@1", 1200, "vm-invalid-password@2"),
        hesitation("privacy-prompt", 400, "vm-press + digits/1"),
        # While thinking.
        hesitation("rms:um", 700, "digits/day-2", asked=DAY),
        hesitation("rms:I need, um", 900, "rms:a refill of my prescription"),
        hesitation("awb:on, uh", 800, "awb:Tuesday morning", asked=DAY),
        hesitation("rms:well, let me see", 1300, "rms:Friday", asked=DAY),
        hesitation("awb:hold on", 1400, "awb:four two four two", asked="What is your PIN?"),
        hesitation(
            "rms:well",
            400,
            "rms:I need, um",
            500,
            "rms:a refill and",
            600,
            "rms:I would like to",
            500,
            "rms:talk to",
            900,
            "rms:Doctor Smith",
        ),
        hesitation("rms:my name is", 500, "rms:John Miller", asked=NAME),
        hesitation("awb:I would like to", 700, "awb:cancel my appointment"),
        hesitation("rms:I am calling about", 1000, "rms:my last bill"),
        hesitation("awb:yes but", 600, "awb:not on Monday", asked="Is Monday all right?"),
        hesitation("rms:if I come on Monday", 800, "rms:do I need to bring anything"),
        # Clauses that only sound complete.
        hesitation(
            "caller:awb-i-would-like-to-book-an-appointment", 500, "caller:awb-with-doctor-smith"
        ),
        hesitation(
            "caller:rms-i-would-like-to-cancel-my-appointment", 800, "caller:rms-on-thursday"
        ),
        hesitation("rms:I have a question", 900, "rms:about my last bill"),
        hesitation("awb:I want a table", 600, "awb:for four people"),
        hesitation("rms:yes", 500, "rms:that would be fine", asked=SURE),
        hesitation("awb:no", 900, "awb:I would rather come on Friday", asked="Is Monday fine?"),
    ]


def _backchannels() -> list[Case]:
    def over(said: str, over_ms: int, transcript: str | None = None) -> Case:
        return Case(
            "backchannel", f"{said} at {over_ms}", (said,), LONG, over_ms, transcript=transcript
        )

    return [
        over("rms:mm hmm", 1500, "mhm"),
        over("awb:mm hmm", 3100, "mm-hmm"),
        over("rms:yeah", 2000),
        over("awb:yeah", 4200),
        over("slt:yeah yeah", 2600),
        over("rms:uh huh", 1800, "uh-huh"),
        over("awb:uh huh", 3600, "uh-huh"),
        over("rms:right", 2900),
        over("awb:okay", 2200),
        over("rms:I see", 3300),
        over("awb:yes", 1700),
        over("digits/oh", 2500),
        over("tt-monkeys", 3000, "(laughs)"),
        over("rms:ha ha ha", 1900, "hahaha"),
        over("throat", 2400, ""),
        over("throat", 4000, "hm"),
    ]


def _barge_ins() -> list[Case]:
    def over(said: str, over_ms: int) -> Case:
        return Case("barge_in", f"{said} at {over_ms}", (said,), LONG, over_ms)

    return [
        over("im-sorry", 1500),
        over("hello", 2600),
        over("vm-no + digits/day-1", 2100),
        over("please-try-again", 3000),
        over("vm-goodbye", 4100),
        over("one-moment-please", 1800),
        over("something-terribly-wrong", 3300),
        over("is-in-use", 2400),
        over("vm-nonumber", 2800),
        over("telephone-number", 3700),
        over("caller:awb-no-wednesday-please", 1700),
        over("caller:rms-can-i-talk-to-a-human", 2500),
        over("caller:rms-what-is-your-address", 3400),
        over("rms:stop", 2000),
        over("awb:wait", 4400),
        over("rms:yeah but I cannot come on Monday", 2900),
    ]


def _echoes() -> list[Case]:
    echoed = "from monday to friday"
    alone = [
        Case("echo", f"echo after {ms}", (), LONG, 8500, echo_ms=ms, invents=echoed)
        for ms in (20, 60, 100, 140, 180, 250)
    ]
    spoken = [
        ("vm-no + digits/day-1", 20), ("caller:awb-no-wednesday-please", 60),
        ("something-terribly-wrong", 100), ("caller:rms-can-i-talk-to-a-human", 140),
        ("please-try-again", 180), ("im-sorry", 250),
    ]  # fmt: skip
    over = [
        Case("echo_barge_in", f"{said}, echo after {ms}", (said,), LONG, 2500, echo_ms=ms)
        for said, ms in spoken
    ]
    return [*alone, *over]


def _noises() -> list[Case]:
    levels = [
        ("white", -50), ("white", -35), ("white", -25), ("hum", -30), ("hum", -20),
        ("clicks", -12), ("clicks", -6), ("babble", -45), ("babble", -35),
    ]  # fmt: skip
    return [
        Case("noise", f"{kind} at {level} dB, {words or 'nothing'!r} heard", noise=(kind, level),
             invents=words)
        for kind, level in levels
        for words in ("", "you", "thank you")
        if words or level > -30
    ]  # fmt: skip


def _under_babble(cases: list[Case]) -> list[Case]:
    chosen = [
        "digits/day-2", "vm-no", "digits/7 + digits/p-m", "caller:rms-yes-please",
        "caller:awb-when-do-you-open", "caller:awb-on-tuesday-morning",
        "246 ... 157 ... 9020".replace(" ...", "").replace(" ", ""),
    ]  # fmt: skip
    turns = [case for case in cases if case.name in chosen]
    turns.append(next(case for case in cases if case.name.startswith("vm-num-i-have ... ")))
    turns.append(next(case for case in cases if case.name.startswith("ss-noservice")))
    return [
        replace(case, kind="babble", name=f"{case.name}, babble -{db} dB", noise=("babble", -db))
        for case in turns
        for db in (20, 10)
    ]


def all_cases() -> list[Case]:
    turns = [*_answers(), *_hesitations()]
    return [
        *turns, *_under_babble(turns), *_backchannels(), *_barge_ins(), *_echoes(), *_noises()
    ]  # fmt: skip
