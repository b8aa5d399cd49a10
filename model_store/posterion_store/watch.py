"""How a server notices that an alias has moved: one listing, and a read per move."""

from posterion_store.channel import list_entries, read_entry
from posterion_store.layout import ChannelKey, channels_prefix
from posterion_store.object_storage import ObjectStorage

Heads = dict[tuple[str, str], tuple[int, str]]


class Watcher:
    """Remembers the heads it has read; entries never change, so they are read once."""

    def __init__(self, storage: ObjectStorage) -> None:
        """Watch the channels of a store.

        Args:
            storage: The store.
        """
        self._storage = storage
        self._digests: dict[ChannelKey, str] = {}

    def heads(self, name: str | None = None) -> Heads:
        """Tell where every alias points now.

        Args:
            name: Look only at this bank, so that a damaged channel of another is no concern.

        Returns:
            (name, alias) to (seq, digest). The number grows with every move, also when the
            digest comes back to one seen before.
        """
        last: dict[tuple[str, str], ChannelKey] = {}
        for place in list_entries(self._storage, channels_prefix(name)):
            last[place.name, place.alias] = place  # sorted, so the greatest number stays
        return {alias: (place.seq, self._digest(place)) for alias, place in last.items()}

    def _digest(self, place: ChannelKey) -> str:
        if place not in self._digests:
            self._digests[place] = read_entry(self._storage, place).manifest
        return self._digests[place]
