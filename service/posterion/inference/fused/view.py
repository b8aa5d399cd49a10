"""A matrix inside an array, for kernels: no copy, no count of references."""

from typing import Any

from numba.core import types
from numba.core.extending import intrinsic
from numba.np import arrayobj


@intrinsic
def view(typing: Any, values: Any, at: Any, n_rows: Any, n_columns: Any) -> Any:  # noqa: ANN401, ARG001
    """``values[at:at + n_rows * n_columns].reshape(n_rows, n_columns)``, unchecked.

    ``values`` has one axis, is contiguous, and outlives the matrix.
    """
    library: Any = arrayobj  # numba has no types
    matrix = types.Array(values.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        array, start, *shape = arguments
        whole = library.make_array(signature.args[0])(context, builder, array)
        size = context.get_abi_sizeof(context.get_data_type(values.dtype))
        item = context.get_constant(types.intp, size)
        made = library.make_array(matrix)(context, builder)
        library.populate_array(
            made,
            data=builder.gep(whole.data, [start]),
            shape=shape,
            strides=[builder.mul(shape[1], item), item],
            itemsize=item,
            meminfo=None,
        )
        return made._getvalue()  # noqa: SLF001

    return matrix(values, types.intp, types.intp, types.intp), generate
