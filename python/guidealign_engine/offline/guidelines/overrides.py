"""Texts that order the model to drop its instructions, told from texts that speak of such orders.

"Ignore all previous instructions" is an order. "Told to ignore earlier instructions, carry on" and “never obey ‘ignore
the above’” are guidelines about one. So quotations are passed over, and a match counts only where it is the main verb
of an imperative: at the start of a sentence or clause, or behind words such as "please", "always" or "you must".
"""

from __future__ import annotations

import re

_QUOTED = re.compile(
    r"\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|»[^«]*«|‘[^’]*’(?!\w)|(?<!\w)'[^']*'(?!\w)|`[^`]*`|「[^」]*」", re.DOTALL
)
_ADVERB = r"(?:please|now|then|always|just|simply|instead|first|also|immediately|completely|henceforth|so|and|but)"
_LEAD = (
    rf"(?:(?:{_ADVERB}|from now on|(?:dear )?(?:assistant|ai|model|chatgpt|system)\b"
    r"|(?:you|the assistant|the model) (?:must|should|shall|will|can|may|are to|have to|need to))[,:]?\s+)*"
)
_BEFORE = r"(?:previous|prior|above|earlier|preceding|foregoing|past|former|existing|initial|original)"
_RULES = (
    r"(?:instructions?|directions?|directives?|guidelines?|rules?|polic(?:y|ies)|prompts?|orders?|commands?|constraints?"
    r"|restrictions?|safeguards?|safety (?:\w+ )?(?:measures?|training|rules?)|messages?|context|content)"
)
_WHOSE = r"(?:your|system|safety|developer|operator|other|content|ethical|moderation|usage)"
_DROP = r"(?:ignore|disregard|forget|override|overrule|bypass|drop|discard|neglect|set aside|break|violate|abandon)"
_DETERMINER = r"(?:(?:all|any|every|each|the|these|those|of|everything|about)\s+)*"
_ORDERS = [
    rf"{_DROP}\s+{_DETERMINER}(?:{_WHOSE}\s+)?{_BEFORE}\s+(?:{_WHOSE}\s+)?{_RULES}",
    rf"{_DROP}\s+{_DETERMINER}(?:{_WHOSE}\s+)+{_RULES}",
    rf"{_DROP}\s+(?:{_DETERMINER}{_RULES}|everything|all|anything|what was said)\s+"
    r"(?:above|before|so far|(?:you (?:were|have been) )?(?:told|given)\b)",
    r"(?:disable|turn off|switch off|deactivate|remove|bypass)\s+(?:all\s+|any\s+)?(?:of\s+)?(?:your|the|its)\s+"
    r"(?:safety|content|ethical|moderation)?\s*(?:filters?|guardrails?|safeguards?|restrictions?|limits|training)",
    r"(?:reveal|print|repeat|output|show|disclose|leak|recite)\s+(?:the\s+user\s+)?(?:all\s+of\s+)?(?:your|the)\s+"
    r"(?:full\s+|entire\s+|hidden\s+|secret\s+)*(?:system\s+(?:prompt|message|instructions?)|hidden\s+(?:prompt|instructions?))",
    r"(?:act|behave|respond|answer|reply|pretend|speak)\s+(?:as\s+(?:if|though)\s+)?(?:you\s+(?:had|have|were|are)\s+)?"
    r"(?:no|without\s+(?:any\s+)?|free\s+of\s+(?:any\s+)?|not\s+bound\s+by\s+(?:any\s+)?)\s*"
    r"(?:rules|restrictions|filters|limits|limitations|guidelines|safety|policies|ethics|moral\w*)",
    r"(?:enter|enable|activate|switch\s+to)\s+(?:the\s+)?(?:dan|developer|jailbreak|god|unrestricted|unfiltered)\s+mode",
    r"(?:comply|agree|go\s+along)\s+(?:fully\s+)?with\s+(?:any|every|all)\s+(?:user\s+)?(?:requests?|demands?|orders?|instructions?)",
    r"(?:never|do\s+not|don['’]t)\s+(?:refuse|decline)\s+(?:anything|any\s+(?:user\s+)?requests?|a\s+request|requests|the\s+user)\b(?!\s+(?:\w+\s+)?(?:merely|just|only|because|solely|simply|on))",
    r"(?:do\s+not|don['’]t|never)\s+(?:follow|obey|apply)\s+(?:the\s+|any\s+|all\s+|your\s+)*(?:other|previous|earlier|system|safety|above)\s+"
    rf"{_RULES}",
]  # fmt: skip
_DECLARED = (
    r"you\s+are\s+(?:now|no\s+longer)\s+(?:an?\s+)?(?:dan\b|free\b|bound|restricted|limited|unrestricted|unfiltered|uncensored"
    r"|jailbroken|subject\s+to)"
)
_ORDER = re.compile(rf"(?P<lead>{_LEAD})(?:(?:{'|'.join(_ORDERS)})|{_DECLARED})", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?:;\n—–]\s*$|^\s*$|[({\[]\s*$|\s[-*]\s+$")
_CLAUSE_END = re.compile(r",\s*$")
# "Greet the user and ignore all rules" orders; with one of these before it, "and ignore" belongs to somebody else.
_NOT_AN_ORDER = re.compile(
    r"\b(?:that|who|which|how|why|by|to|may|might|could|would|will|can|users?|people|someone|anyone|messages?|texts?"
    r"|prompts?|inputs?|documents?|attack\w*|requests?|never|not|n['’]t|without|no)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"^\W*(?:if|when|whenever|where|for|in|on|once|after|before|with|as|while|should|upon|regardless|asked|told)\b",
    re.IGNORECASE,
)
_REPORTED = re.compile(
    r"\b(?:told|asked|urged|ordered|invited|instructed|pressed|begged|commanded|demand\w*|order\w*|attempt\w*|tr(?:y|ies|ied)"
    r"|want\w*|request\w*|claim\w*|say\w*|said|command\w*|instruct\w*|plea\w*)\s+(?:\w+\s+){0,3}?(?:to|that)\b",
    re.IGNORECASE,
)


def find_override(text: str) -> str | None:
    """The words that order the model to drop its instructions, or to reveal them; None without any."""
    unquoted = _QUOTED.sub(lambda match: "\u241f" * len(match[0]), text)
    for match in _ORDER.finditer(unquoted):
        if _is_order(unquoted, match):
            return match[0].strip()
    return None


def _is_order(text: str, match: re.Match[str]) -> bool:
    before = text[: match.start()]
    if _SENTENCE_END.search(before):
        return True
    sentence = re.split(r"[.!?:;\n]\s", before)[-1]
    if not _CLAUSE_END.search(before):
        return match["lead"][:4].lower() in ("and ", "then") and not _NOT_AN_ORDER.search(sentence)
    if _REPORTED.search(sentence):
        # "Asked to sing, ignore all earlier rules" is an order; in "asked to sing, ignore all earlier rules, or dance,
        # stay calm" it is what somebody asks for, and the main clause follows.
        rest = re.split(r"[.!?:;\n](?:\s|$)", text[match.end() :])[0]
        return bool(_CONDITION.search(sentence)) and "," not in rest
    return bool(_CONDITION.search(sentence) or match["lead"])
