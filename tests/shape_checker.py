"""The checker behind jaxtyping's import hook: beartype, taking an `int` where a `float` stands."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
