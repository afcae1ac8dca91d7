"""English, as callers speak it on a telephone. See calls/language.py for what the sets are."""

from __future__ import annotations

import re
from typing import Final

from calls.language import Language, words


def _asks(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})\b")


ENGLISH: Final = Language(
    fillers=words("um uh er erm em umm uhh hmm hm mmm ah eh uhm well like so you_know"),
    closers=words(
        "please thanks thank_you thank_you_very_much bye goodbye bye_bye that_is_all that_is_it"
        " that_is_everything"
        " that_is_fine that_is_correct that_is_right that_would_be_great that_works i_am_done"
        " if_possible as_soon_as_possible right_now right_away instead too as_well again"
        " have_a_nice_day have_a_good_day either at_all think_so hope_so guess_so believe_so"
        " very_well feeling_well doing_well"
    ),
    answers=words(
        "yes yeah yep yup yes_please yes_it_is yes_i_am yes_i_do yes_that_is_right sure okay ok"
        " of_course right correct exactly certainly absolutely definitely fine alright all_right"
        " no nope nah no_thanks no_thank_you no_please not_really not_yet not_at_all no_problem"
        " never nothing nothing_else none neither both either maybe perhaps i_think_so"
        " not_now not_right_now not_today i_do_not_know i_am_not_sure not_sure i_guess_so"
        " i_hope_so that_is_right that_is_correct"
        " goodbye bye thanks thank_you male female single married new returning the_first_one"
        " the_second_one the_last_one the_other_one any_time anytime whenever"
        " repeat repeat_that pardon sorry what operator representative agent help stop cancel"
        " a_human a_person someone_else nobody that_one this_one the_same go_ahead"
    ),
    yes_no=words("yes yeah yep yup no nope nah sure okay ok right correct"),
    consents=words("yes yeah yep yup sure okay ok right"),
    greetings=words("hello hi hey and so"),
    holds=words(
        "hold_on hang_on wait one_moment one_second one_sec just_a_moment just_a_second just_a_sec"
        " one_minute just_a_minute a_second a_moment a_sec bear_with_me let_me_see let_me_check"
        " let_me_think let_me_look let_me_get_it let_me_find_it give_me_a_second"
        " give_me_a_moment where_is_it"
    ),
    hanging=words(
        "and or but because cause if than while although though unless whether since until"
        " a an the my your our their its his every i we he she they who's very quite between"
        " mister mr mrs ms dr double triple plus"
    ),
    stranded=words(
        "to at of for with from by into onto about regarding concerning near under after during"
        " without within against towards as in on per which what when where who whose how why"
        " not called named"
    ),
    auxiliaries=words(
        "is are was were am be been will would could should shall can may might must do does did"
        " have has had isn't aren't wasn't don't doesn't didn't can't cannot won't wouldn't"
        " couldn't shouldn't haven't hasn't"
    ),
    adverbs=words(
        "currently approximately roughly exactly only just almost nearly probably actually already"
        " also still usually always normally mostly basically"
    ),
    pronouns=words("i you he she it we they that this there"),
    wishes=words("want like love need have going used prefer"),
    openings=words(
        "i_want i_need i_would_like i_would_love i_would_prefer i_was_wondering i_wonder i_think"
        " i_guess i_believe i_mean i_have i_got i_have_got i_had i_was i_am_looking i_am_trying"
        " i_am_calling i_am_interested i_am_going i_called i_tried i_said i_just i_just_wanted"
        " i_wanted i_am_having i_will_take i_will_have can_you could_you would_you can_i could_i"
        " may_i can_i_get can_i_have could_i_have can_you_tell_me could_you_tell_me tell_me"
        " give_me let_me send_me show_me help_me please_send please_give do_you_have do_you_know"
        " is_there are_there there_is there_are it_says it_is_the it_is_about it_looks"
        " that_is_why the_thing the_problem my_problem what_about how_about we_need we_want"
        " see_doctor with_doctor is_doctor"
        " we_would_like they_said he_said she_said"
    ),
    announcements=words(
        "i_have_a_question i_have_a_problem i_have_an_issue i_have_a_couple_of_questions"
        " i_have_two_questions i_have_another_question i_need_help i_need_some_help"
        " i_need_your_help can_you_help_me could_you_help_me i_need_some_information"
        " i_have_a_quick_question quick_question can_i_ask_you_something"
        " can_i_ask_a_question there_is_a_problem there_is_one_thing one_more_thing"
        " here_is_the_thing the_thing_is it_is_like_this okay_so first first_of_all"
    ),
    subordinators=words("if because since although while unless whenever so_that as_soon_as"),
    question_words=words(
        "what which who whom whose when where why how is are was were do does did can could will"
        " would shall should may have has am what's where's who's how's isn't aren't don't"
        " doesn't can't"
    ),
    requests=words("can could would may will"),
    times=words(
        "monday tuesday wednesday thursday friday saturday sunday weekend weekday today tomorrow"
        " yesterday tonight morning afternoon evening night noon midday midnight lunchtime"
        " lunch o'clock oclock am pm a.m p.m week weeks month months year years hours minutes"
        " mondays tuesdays wednesdays thursdays fridays saturdays sundays mornings afternoons"
        " evenings january february march april may june july august september october november"
        " december now soon later earlier asap first second third fourth fifth sixth seventh"
        " eighth ninth tenth eleventh twelfth thirteenth fifteenth twentieth thirtieth"
    ),
    digits={
        **dict.fromkeys(words("zero oh o one two three four five six seven eight nine niner"), 1),
        **dict.fromkeys(
            words(
                "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
                " twenty thirty forty fifty sixty seventy eighty ninety hundred"
            ),
            2,
        ),
        "thousand": 3,
    },
    counted=words(
        "have need want get this that which first second third last next other another no any"
    ),
    repeats={"double": 2, "triple": 3},
    asks=(
        ("digits", _asks(r"last four|last 4|pin|four[- ]digit|(?:what|which) year"), (4, 4)),
        ("digits", _asks(r"security code|cvv|cvc"), (3, 4)),
        ("digits", _asks(r"extension|room|apartment|flat|house number|street number"), (1, 5)),
        ("digits", _asks(r"zip|post(?:al)? ?code"), (5, 5)),
        ("digits", _asks(r"social security"), (9, 9)),
        ("digits", _asks(r"(?:credit|debit|bank) card|card number"), (15, 16)),
        (
            "digits",
            _asks(
                r"(?:tele)?phone|mobile|cell|call ?back number|contact number|area code"
                r"|(?:reach|call) you (?:back )?(?:at|on)|number to (?:call|reach)"
                r"|number (?:can|should) (?:we|i) (?:call|reach)"
            ),
            (10, 11),
        ),
        (
            "digits",
            _asks(
                r"(?:account|reference|order|booking|confirmation|policy|member(?:ship)?|customer"
                r"|invoice|ticket|tracking|case|claim|serial|patient|prescription|passport|licen[cs]e"
                r"|conference|identification) (?:number|code|id)|passcode|password|iban"
            ),
            (6, 20),
        ),
        ("address", _asks(r"address|street|where do you live"), (0, 0)),
        ("date", _asks(r"date of birth|birth ?da(?:y|te)|born"), (0, 0)),
        ("time", _asks(r"when|(?:what|which) (?:time|day|date)|how (?:long|soon)"), (0, 0)),
        ("spelling", _asks(r"spell"), (0, 0)),
        ("name", _asks(r"name|who am i|who is (?:this|calling)|speaking with"), (0, 0)),
        (
            "open",
            _asks(
                r"help you|do for you|what happened|tell me (?:more|about)|anything else|describe"
                r"|what is (?:it|this|your call) (?:about|regarding)|calling about|problem|reason"
                r"|(?:what|where) (?:is|seems to be) the (?:issue|matter)|assist"
            ),
            (0, 0),
        ),
    ),
    requested=re.compile(
        r"\b(?:what|which|when|where|who|tell|give|say|enter|spell|read|have|get|provide|take"
        r"|repeat|confirm)\b"
    ),
    spellings={
        "i'd": "i would",
        "we'd": "we would",
        "i'm": "i am",
        "i'll": "i will",
        "i've": "i have",
        "that's": "that is",
        "it's": "it is",
        "there's": "there is",
        "here's": "here is",
        "what's": "what is",
        "where's": "where is",
        "we're": "we are",
        "they're": "they are",
        "you're": "you are",
        "he's": "he is",
        "she's": "she is",
        "don't": "do not",
        "name's": "name is",
        "number's": "number is",
        "let's": "let us",
        "mhm": "yes",
    },
)
