"""Many runs: design spaces, execution, the store of results, search.

`accelsim.sweep` is this package, and a function too: `accelsim.sweep("my_sweep.yaml", "results.db")` is
`accelsim.sweep.run.sweep`.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `accelsim.sweep.run.sweep`."""
        from accelsim.sweep.run import sweep

        return sweep(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
