"""Where a sweep's truth is kept: a folder, or a prefix of an object store (`s3://bucket/prefix`).

    addresses   which of the two; the working copy that a driver keeps of a sweep in a store
    local       writing a file whole or not at all
    objects     objects with the few methods of pathlib.Path that we use
    client      the S3 client; what is tried again and what is told to the user
    segments    a journal in a store: numbered objects, each created once
    lease       whether a driver lives, without a lock that all machines could see

A sweep in a folder imports and pays nothing of this but a comparison of paths.
"""

from sweeps.storage.addresses import Place, at, origin, trial_folder, truth, working_folder
from sweeps.storage.local import write_whole
from sweeps.storage.objects import ObjectPath

__all__ = [
    "ObjectPath",
    "Place",
    "at",
    "origin",
    "trial_folder",
    "truth",
    "working_folder",
    "write_whole",
]
