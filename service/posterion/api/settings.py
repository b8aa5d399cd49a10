"""Which limits the API declares and enforces."""

from pydantic import BaseModel, ConfigDict, Field


class ApiSettings(BaseModel):
    """Limits of the API; the defaults are the contract's.

    Attributes:
        max_body_bytes: Longest request body, bytes.
        max_structures: Most structures in one request.
        max_atoms: Most atoms in one structure.
        max_edges: Most neighbour pairs in one request, or in the lists of one session; declared
            here, enforced where the pairs are found.
        max_structure_edges: Most neighbour pairs in one structure; one pass over so many
            takes about 6 GB at 16 features and l = 2.
        max_depth: Deepest nesting of a request document.
        body_timeout_s: Seconds within which a whole body must arrive, and within which the client
            of a session must make room for the next message.
        offload_bytes: Bodies longer than this are decoded in a worker thread.
        offload_numbers: Replies with more numbers than this are encoded in one.
        offload_workers: Most such threads at once; also bounds the memory of decoding.
        max_sessions: Most sessions of one replica at once.
        max_frame_bytes: Longest message of a session; no longer than what uvicorn reads where
            Ray starts it.
        session_idle_s: A session that says nothing for so long is ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    max_structures: int = Field(default=1024, ge=1)
    max_atoms: int = Field(default=100_000, ge=1)
    max_edges: int = Field(default=5_000_000, ge=1)
    max_structure_edges: int = Field(default=500_000, ge=1)
    max_depth: int = Field(default=32, ge=8)
    body_timeout_s: float = Field(default=30.0, gt=0)
    offload_bytes: int = Field(default=16 * 1024, ge=0)
    offload_numbers: int = Field(default=20_000, ge=0)
    offload_workers: int = Field(default=4, ge=1)
    max_sessions: int = Field(default=64, ge=0)
    max_frame_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, le=16 * 1024 * 1024)
    session_idle_s: float = Field(default=600.0, gt=0)

    @property
    def max_nodes(self) -> int:
        """Most containers and strings in one document.

        Each costs a parser some 60 bytes of memory however short it is on the wire; one per
        16 bytes of the longest body keeps a crowded document from using much more memory
        than a dense one.
        """
        return self.max_body_bytes // 16
