"""Whether a secret is one: nobody has published it, and nobody guesses it.

What was published is known by its digest alone: in this repository, whose history stays readable for ever, and in the
standards whose test vectors are keys. Randomness cannot be proven, but what people type, and what repeats, counts or is
text, can be told from it: of random keys less than one in a million is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from contextlib import suppress
from itertools import pairwise
from typing import Final

KEY_BYTES: Final = 32
DISTINCT_BYTES_MIN: Final = 20
SAME_BYTE_MAX: Final = 4  # in a row
STEPS_MIN: Final = 14  # different steps from one byte to the next
PRINTABLE_MAX: Final = 27  # of 32 random bytes 12 are
TEXT_LENGTH_MIN: Final = 16  # without the prefix and the words in it
TEXT_DISTINCT_MIN: Final = 9
CHANGES_MIN: Final = 3  # between small letters, capitals and digits
RUN_MAX: Final = 7  # of the same or the next character
PREFIXES: Final = ("whsec_", "sk_test_", "sk_live_", "rk_test_", "rk_live_")
WORDS: Final = (
    "administrator admin changeme changethis change correct horse battery staple default demo development dev example"
    " insecure jwt kafka key kontor letmein local localhost master normal password passwd placeholder please postgres"
    " postgresql private prod production public qwerty redis root sample secret server shop staging stripe super test"
    " testing token valkey webhook welcome your"
).split()
_LONGEST_FIRST: Final = tuple(sorted((word for word in WORDS if len(word) > 3), key=len, reverse=True))

# SHA-256 of every value that this project has ever printed, as it stands and decoded, and of the seeds of the test
# vectors in RFC 8032. tests/adapters/test_settings_review.py looks for others in the history.
PUBLISHED: Final = frozenset(
    """
    018478adbfda33282b1e1e5b5d88fc0923b102651eb09fedbd6577f0972a62dd
    0257b624c404f0c3992cd93f28eeae0c32612500b4dad76f386169447210a6a8
    02d958194d4e46a1d7785a5679ee88794233a84f195abf0b48bb594cf744256d
    0447c67ff24996941c07ade63057cb6762a399a796dce836289282a2a583e520
    057cb6c356c82a53658f7b4b9da6905f5b7c604496f53c24f603f7567c7dab4a
    091a0fd0405a36da271ddcabdc0c7daf62029728a20a810ebe66eaee86a86727
    0a5b270001e90602b79dde51acaaac88336e56595afc023c09eae317bf66af4d
    0e686aaeabe899a6dc48c2c6b0b388e6fa433e91efe1e48b20fa2f5d63737022
    0f1019f02ebfb13b92b828712b9b6c8c23a5e3ef7b473ac1fca7619bc2b39ba0
    148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940
    189fca54c1d14f1a296cccd59e3cee0afe1d5bef99b0447935e4c21b311984e2
    1c6660ce0212fd450b7d5e65f2513588546db4a27390fea7e7935c0ab99c42d8
    24ff5b8651887c7ada6d71131254743254b99c732e466104088fcf4a18836ab8
    26b80fac35c988be439802aba35b637953d8738105f024d9810fe0651ea954b3
    28024a74943422cca068bb8189df16977c0cd8b322fcdf9c782f59ab6c0aa7e9
    28ab62a8e0300d274eb7828beb50a6e0c0af14937bc73d8bad978cc89a8b3ffe
    29dc7e705e29ab2a3c0905b0a7ff550bd5dcabba62606aca000c5086adc99a7b
    2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b
    3d2d9682cdba529682a152f678e25c6c29847bf2588ca4e1b3023c1579f9958d
    41119ef9ffe31050a2dae0975af68f0a30ff93f86c18aaeeea58c08eae4f963b
    4919f400d68e08f01d9cc1f14e4ed8af35f65c758694169bbfb31fd7158d9700
    5b3975651c3cab92d044c096dc30a1c2d9525497457472de48c51ecb363d1f4a
    5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    644d50ab64864c20a12b3c4656d46b4a48f69ef7c47ecdc8415cd28316b22ef5
    64aa03adc135caee42eb6bf56c7dafd623d98c78234c0b656d17ead3e36fecb4
    6d4a139ba44be586acf7a7db80e371b706237480983b6c5d15fde0127a31a541
    799f4f52a16f082041531fb3860d3687e8b0c82c653e530ce70ae16db0165353
    7ba21fb14d3e83b30405a54ac680ef2b24e3d1611e465d9a3ba0e956138710e4
    8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225
    9028ea0d15decaa35b2da21c0290af3b1a5ba0a30a591906f89b5074e209ea72
    918a483206abfc9207f58443b4403c208a687265175377ea43db32a0def92492
    b186714e50f982f958b8754621a62869c61c4d24675b8fdeaae2fc0fe87a6dd3
    b7171f3b30e95a70bde4f48106061c2d5f82eecbfe9366b4fc563aac166cc7cd
    b7c5875422105def0b3076a66468006b8f23e5db5570b9dfdb46e9fa61380375
    be0600555dff3f9d99cc267e2a2f69d7f68b352ce9efd4182cec645d5f69111a
    bf0f475cf1f9248e6a4fb056c7edf355139c1e1e73de49557ddc1ecae0d46232
    c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a
    d349831971026efe15bc2a71bf0435e6fee08d8390f4503eafd65ba01b326fa3
    d8eca0cca720d33bf6d9a3e8057053ff6a4d19a62a9874fa7f7004ea662fb2f9
    e564b4081d7a9ea4b00dada53bdae70c99b87b6fce869f0c3dd4d2bfa1e53e1c
    ee1950670d0d36732d131cc2172f3bc8d8b4441c5f0a386a714a75dd2aaf799f
    f139ec6d0dd6051d9e5513826b7d20bfe27d1694ace7b7da403f1677864af970
    f522692fc9c3958dee036b3093c9bc3f95cade408679479006fc28668745d99e
    f68eafa087f5d08eb76ebd6120c16fc7acfdc244256dd35a4053fb185e2916a1
    f8789cc1e5e5161c99d3b7e8b2b6f47b65daa94e5347f614253079254f86ccf8
    fa8e2ea0c0f335cd82aac196368940887da37c4757353c24e6d2505252a70266
    """.split()
)


def was_published(secret: str) -> bool:
    """Is it one of PUBLISHED, in whatever way it is written?"""
    return any(hashlib.sha256(form).hexdigest() in PUBLISHED for form in _forms(secret))


def same(one: str, other: str) -> bool:
    """Are they one secret, in whatever way each is written?"""
    return any(hmac.compare_digest(form, each) for form in _forms(one) for each in _forms(other))


def too_weak(secret: str, *, key: bool) -> str:
    """Why it is easily guessed; empty when it is not. A `key` is base64 of 32 bytes, else it is a text."""
    if not key:
        return _weak_text(secret)
    decoded = decoded_key(secret)
    return _weak_key(decoded) if decoded is not None else f"it is not base64 of {KEY_BYTES} bytes"


def decoded_key(text: str) -> bytes | None:
    """The 32 bytes; None for what is no such key."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == KEY_BYTES else None


def _weak_key(key: bytes) -> str:
    if len(set(key)) < DISTINCT_BYTES_MIN:
        return "its bytes repeat"
    if sum(32 <= byte < 127 for byte in key) > PRINTABLE_MAX or _is_text(key):
        return "it is text"
    if any(len(set(key[at : at + SAME_BYTE_MAX + 1])) == 1 for at in range(KEY_BYTES - SAME_BYTE_MAX)):
        return "it is padded"
    steps = [(after - before) % 256 for before, after in pairwise(key)]
    turns = [(after - before) % 256 for before, after in pairwise(steps)]
    xors = [before ^ after for before, after in pairwise(key)]
    if min(len(set(steps)), len(set(turns)), len(set(xors))) < STEPS_MIN:
        return "it counts"
    if key in {
        digest(word.encode()).digest() for word in ("", *WORDS) for digest in (hashlib.sha256, hashlib.sha3_256)
    }:
        return "it is the digest of a word"
    return ""


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _weak_text(secret: str) -> str:
    text = next((secret.removeprefix(prefix) for prefix in PREFIXES if secret.startswith(prefix)), secret)
    rest = text.lower()
    for word in _LONGEST_FIRST:
        rest = rest.replace(word, "")
    if len(rest) < TEXT_LENGTH_MIN:
        return f"without words in it, it has fewer than {TEXT_LENGTH_MIN} characters"
    if len(set(rest)) < TEXT_DISTINCT_MIN:
        return "its characters repeat"
    if any(_is_text(form) for form in _forms(text)[1:] if len(form) >= TEXT_LENGTH_MIN // 2):
        return "it is text that was encoded"
    if _longest_run(text) > RUN_MAX:
        return "it counts or repeats"
    if sum(before != after for before, after in pairwise(map(_class_of, filter(str.isalnum, text)))) < CHANGES_MIN:
        return "it is made of words"
    return ""


def _longest_run(text: str) -> int:
    """Of characters that are the same, or each the next or the one before, all in one direction."""
    longest = run = 1
    last: int | None = None
    for step in ((ord(after) - ord(before)) for before, after in pairwise(text)):
        run = run + 1 if step == last else (2 if abs(step) <= 1 else 1)
        last = step if abs(step) <= 1 else None
        longest = max(longest, run)
    return longest


def _class_of(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.islower() else 2


def _forms(secret: str) -> list[bytes]:
    """The secret as it stands and, where it is base64 or hexadecimal of something, that."""
    text = secret.strip()
    forms = [text.encode()]
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    for alphabet in (b"+/", b"-_"):
        try:
            forms.append(base64.b64decode(padded, altchars=alphabet, validate=True))
        except (binascii.Error, ValueError):
            continue
    with suppress(ValueError):
        forms.append(bytes.fromhex(text))
    return [form for form in forms if form]
