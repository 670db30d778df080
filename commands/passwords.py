"""Which passwords may be set, whatever the scheme they are hashed by."""

from __future__ import annotations

from typing import Final

from domain.disclosure import Secret
from domain.errors import WeakPassword

# Upper bound, whatever the scheme: argon2 would take any length, bcrypt fails above 72 bytes; NIST SP 800-63B asks for
# at least 64. So the scheme can be changed without anybody's password becoming too long.
PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_BYTES_MAX: Final = 72


def require_strong(secret: Secret, *, email: str, field: str = "password") -> None:
    """Raises WeakPassword outside 10 characters to 72 bytes, or when it is the address."""
    password = Secret(secret).reveal()
    if len(password) < PASSWORD_LENGTH_MIN or len(password.encode()) > PASSWORD_BYTES_MAX:
        raise WeakPassword(
            f"The password has {len(password)} characters; give {PASSWORD_LENGTH_MIN} or more, up to "
            f"{PASSWORD_BYTES_MAX} bytes.",
            field=(field,),
        )
    if password.lower() == email:
        raise WeakPassword("The password is the e-mail address; choose another.", field=(field,))
