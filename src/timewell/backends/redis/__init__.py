"""The online store for a fleet: Redis, one key per (build, entity), read in one round trip.

How a build lies in Redis (``shop`` is the prefix, ``orders/v1/b1`` the build)::

    shop:{orders/v1/b1}:mark             what the build holds, and the number of the generation to read
    shop:{orders/v1/b1}:control          who may write: the greatest order so far, the token of who writes now
    shop:orders/v1/b1:3f2a9c01:{a7}KEY   a packed row; the tag is a hash of the entity's key
    shop:orders/v1/b1:3f2a9c01:page:0    the keys of a thousand rows, as they were loaded
    shop:orders/v1/b1:3f2a9c01:+{00}     keys that refreshes added
    shop:orders/v1/b1:3f2a9c01:={00}     fence and number of rows of a part of the build
    shop:builds, shop:loose              all builds; generations that no mark names (any more)
    shop:owner                           the project that may write under this prefix

*Load* writes plain rows into a new generation that nobody reads, then swaps the mark. *Refresh* and *erase* change rows
in place, in chunks that are each one script: it checks that the writer still holds the build, so a writer that was
overtaken changes nothing any more, neither rows nor deletions. *Read* asks for marks and rows in one MGET.

No key expires and none is found by scanning the key space. A mark that is missing means an emptied store, never "no
value". Nothing here is the only copy: every build can be made again from the offline side.
"""

from __future__ import annotations

from timewell.backends.redis.links import server_at
from timewell.backends.redis.store import RedisStore


def open(
    url: str = "redis://127.0.0.1:6379/0",
    *,
    prefix: str = "timewell",
    timeout_s: float = 1.0,
    owner: str | None = None,
) -> RedisStore:
    """Return the store in a Redis server; it connects when first needed.

    Parameters
    ----------
    url
        ``redis://[user:password@]host:port/database``, ``rediss://`` (TLS) or ``unix:///path``.
    prefix
        What every name begins with; keeps projects in one Redis apart.
    timeout_s
        How long a read may take for which the caller sets no limit; seconds.
    owner
        Who alone may load and drop builds under the prefix; ``None`` asks nobody.
    """
    return RedisStore(server_at(url), prefix=prefix, timeout_s=timeout_s, owner=owner)
