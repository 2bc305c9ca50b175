"""Which errors of a database mean that it will never take a write, and which that it cannot now.

Pure: it looks at errors, by their classes and PostgreSQL's codes.
"""

from __future__ import annotations

import sqlalchemy as sa

_BADLY_TYPED = (TypeError, ValueError, OverflowError, UnicodeError, ArithmeticError)


def is_refusal(error: Exception) -> bool:
    """Return whether repeating it is of no use: the value is at fault, not the database.

    A table that is missing, a schema that has changed and rights that are lacking are none: an operator mends those,
    and what waits is written then.
    """
    if isinstance(error, sa.exc.DataError | sa.exc.IntegrityError):
        return True
    origin = getattr(error, "orig", None)
    if isinstance(error, sa.exc.ProgrammingError | sa.exc.InterfaceError):
        # Without a code it never reached the server: the driver cannot write such a value.
        return getattr(origin, "sqlstate", None) is None and not getattr(error, "connection_invalidated", False)
    if isinstance(error, sa.exc.StatementError) and isinstance(origin, _BADLY_TYPED):
        return True
    return isinstance(error, _BADLY_TYPED) and not isinstance(error, sa.exc.SQLAlchemyError)


def reason_of(error: Exception) -> str:
    """Return what the database said, in one line, without statements and parameters."""
    text = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__}: {' '.join(text.split())}"[:500]
