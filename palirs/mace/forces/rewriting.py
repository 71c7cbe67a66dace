"""Rewriting a recording of plain tensor operations for a GPU.

Three things that PyTorch does for any program cost much there, and are not needed for molecules
whose graph never changes. Sums over edges by atomic additions come in another order in every run,
so their last bits differ; here they are gathered by a table and summed in a fixed order. Products
of matrices with a handful of columns (Clebsch-Gordan coefficients) each start a kernel that is
busy for a microsecond; written out as sums of products they are fused with their neighbours. What
depends on weights only is calculated once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

TERMS, PRODUCTS = 16, 128
"""A product of matrices is written out if it has at most so many terms per element, and the right
matrix at most so many elements; others are worth a library's kernel."""
ELEMENTS = 8
"""Or, of many products with long sums, if the result has at most so many rows and columns."""


class Values:
    """Values of nodes that do not depend on the first input, evaluated where they are needed."""

    def __init__(self, module: fx.GraphModule):
        self._module, self._values = module, dict[fx.Node, Tensor]()
        self._device = next(tensor.device for tensor in _tensors(module))

    def __call__(self, node: fx.Node) -> Tensor:
        """Return the value of a node; that of zeros needs the shape of what they are like only."""
        if node not in self._values:
            self._values[node] = self._evaluate(node)
        return self._values[node]

    def _evaluate(self, node: fx.Node) -> Tensor:
        if node.op == "get_attr":
            return _attribute(self._module, node)
        if node.target in (aten.new_zeros.default, aten.zeros_like.default):
            like = node.meta["val"]
            return torch.zeros(tuple(like.shape), dtype=like.dtype, device=self._device)
        if node.op != "call_function":
            raise NotImplementedError(f"an index of the recording depends on its input {node.name}")
        assert callable(node.target)
        return node.target(
            *fx.map_arg(node.args, self.__call__), **fx.map_arg(node.kwargs, self.__call__)
        )


def in_fixed_order(module: fx.GraphModule) -> None:
    """Replace sums that are scattered by sums that are gathered, in place.

    Raises
    ------
    NotImplementedError
        For a scattering that no code of MACE has: into other than zeros, or by an index that
        differs between columns.
    """
    values, tables = Values(module), _Tables(module)
    for node in list(module.graph.nodes):
        replace = _REPLACEMENTS.get(node.target)
        if replace is not None and (new := replace(node, values, tables)) is not None:
            node.replace_all_uses_with(new)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()


def _scattered(node: fx.Node, values: Values, tables: "_Tables") -> fx.Node:
    zeros, dim, index, source = _arguments(node)
    places, target = values(index), values(zeros)
    rows = places.reshape(places.shape[0], -1)
    if dim % places.dim() != 0 or bool((rows != rows[:, :1]).any()) or bool(target.any()):
        raise NotImplementedError(f"{node.name} scatters in an unknown way")
    return tables.sums(node, source, rows[:, 0], target)


def _put(node: fx.Node, values: Values, tables: "_Tables") -> fx.Node | None:
    zeros, indices, source, *accumulate = _arguments(node)
    target, places = values(zeros), [values(index) for index in indices]
    if bool(target.any()) or not any(accumulate):
        raise NotImplementedError(f"{node.name} scatters in an unknown way")
    if len(places) == 1:
        return tables.sums(node, source, places[0], target)
    if not _first_column(places, target.shape):
        raise NotImplementedError(f"{node.name} scatters by an unknown index")
    with node.graph.inserting_before(node):
        return node.graph.call_function(aten.unsqueeze.default, (source, 1))


def _indexed(node: fx.Node, values: Values, tables: "_Tables") -> fx.Node | None:
    source, indices = _arguments(node)
    if len(indices) != 2:
        return None
    shape = source.meta["val"].shape
    if not _first_column([values(index) for index in indices], shape):
        return None
    with node.graph.inserting_before(node):
        new = node.graph.call_function(aten.select.int, (source, 1, 0))
    new.meta = node.meta
    return new


def _first_column(places: list[Tensor], shape: torch.Size) -> bool:
    """Whether an index takes the only column of a matrix: MACE selects its only head so."""
    rows, columns = places
    return (
        shape[1] == 1
        and not bool(columns.any())
        and torch.equal(rows.cpu(), torch.arange(shape[0]))
    )


_REPLACEMENTS: dict[object, Callable[[fx.Node, Values, "_Tables"], fx.Node | None]] = {
    aten.scatter_add_.default: _scattered,
    aten.scatter_add.default: _scattered,
    aten.index_put.default: _put,
    aten.index.Tensor: _indexed,
}


class _Tables:
    """Tables of which rows each sum has, kept by the recording."""

    def __init__(self, module: fx.GraphModule):
        self._module = module
        self._known = dict[tuple[int, ...], tuple[str, str | None, torch.Size]]()

    def sums(self, node: fx.Node, source: fx.Node, places: Tensor, target: Tensor) -> fx.Node:
        """Insert the sums of the rows of ``source`` that go to each row of the target."""
        name, mask_name, shape = self._table(places, len(target))
        graph = node.graph
        with graph.inserting_before(node):
            gathered = graph.call_function(aten.index.Tensor, (source, [graph.get_attr(name)]))
            if mask_name is not None:
                mask = graph.get_attr(mask_name)
                mask = graph.call_function(
                    aten.view.default, (mask, [*shape] + [1] * (target.dim() - 1))
                )
                zero = graph.call_function(aten.zeros_like.default, (gathered,))
                gathered = graph.call_function(aten.where.self, (mask, gathered, zero))
            new = graph.call_function(aten.sum.dim_IntList, (gathered, [1]))
        new.meta = node.meta
        return new

    def _table(self, places: Tensor, rows: int) -> tuple[str, str | None, torch.Size]:
        key = (rows, *places.tolist())
        if key not in self._known:
            table, mask = summands(places.cpu(), rows)
            number = len(self._known)
            name, mask_name = f"_summands_{number}", f"_summands_there_{number}"
            self._module.register_buffer(name, table.to(places.device))
            if bool(mask.all()):
                mask_name = None
            else:
                self._module.register_buffer(mask_name, mask.to(places.device))
            self._known[key] = name, mask_name, table.shape
        return self._known[key]


def summands(places: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return which entries go to each row, ``[rows, most]``, and which of these are there."""
    order, counts = torch.argsort(places, stable=True), torch.bincount(places, minlength=rows)
    begin, most = counts.cumsum(0) - counts, max(int(counts.max()), 1)
    number = torch.arange(most).expand(rows, most)
    there = number < counts[:, None]
    return order[torch.where(there, begin[:, None] + number, 0)], there


def without_small_products(module: fx.GraphModule) -> None:
    """Write products of small matrices out, in place.

    As sums of products, or as products that are summed.
    """
    for node in list(module.graph.nodes):
        if node.target not in (aten.mm.default, aten.bmm.default):
            continue
        left, right = _arguments(node)
        shapes = _shape(left), _shape(right)
        if shapes[0] is None or shapes[1] is None:
            continue
        rows, (terms, columns) = shapes[0][-2], shapes[1][-2:]
        with module.graph.inserting_before(node):
            if terms <= TERMS and terms * min(columns, TERMS) <= PRODUCTS:
                new = _sum_of_products(module.graph, left, right, terms)
            elif node.target is aten.bmm.default and max(rows, columns) <= ELEMENTS:
                new = _products_summed(module.graph, left, right)
            else:
                continue
        new.meta = node.meta
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)
    module.recompile()


def _sum_of_products(graph: fx.Graph, left: fx.Node, right: fx.Node, terms: int) -> fx.Node:
    total = None
    for k in range(terms):
        column = graph.call_function(aten.slice.Tensor, (left, -1, k, k + 1))
        row = graph.call_function(aten.slice.Tensor, (right, -2, k, k + 1))
        product = graph.call_function(aten.mul.Tensor, (column, row))
        total = product if total is None else graph.call_function(aten.add.Tensor, (total, product))
    assert total is not None
    return total


def _products_summed(graph: fx.Graph, left: fx.Node, right: fx.Node) -> fx.Node:
    left = graph.call_function(aten.unsqueeze.default, (left, 3))
    right = graph.call_function(aten.unsqueeze.default, (right, 1))
    product = graph.call_function(aten.mul.Tensor, (left, right))
    return graph.call_function(aten.sum.dim_IntList, (product, [2]))


def apart(module: fx.GraphModule) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Divide a recording by what depends on its first input.

    Returns
    -------
    constants : GraphModule
        Takes the other inputs, the weights, and returns a tuple of tensors.
    rest : GraphModule
        Takes the first input and these tensors.
    """
    first, *weights = [node for node in module.graph.nodes if node.op == "placeholder"]
    depends = {first}
    for node in module.graph.nodes:
        if any(needed in depends for needed in node.all_input_nodes):
            depends.add(node)
    before, after = fx.Graph(module), fx.Graph(module)
    early: dict[fx.Node, fx.Node] = {}
    late = {first: after.placeholder("x")}
    for node in weights:
        early[node] = before.placeholder(node.name)
    needed = list[fx.Node]()
    for node in module.graph.nodes:
        if node in depends and node.op != "placeholder":
            for argument in node.all_input_nodes:
                if argument not in depends and argument not in late:
                    late[argument] = after.placeholder(f"constant_{len(needed)}")
                    late[argument].meta = argument.meta
                    needed.append(argument)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            continue
        if node in depends:
            late[node] = after.node_copy(node, late.__getitem__)
        elif node.op != "output":
            early[node] = before.node_copy(node, early.__getitem__)
    before.output(tuple(early[node] for node in needed))
    before.eliminate_dead_code()
    return fx.GraphModule(module, before), fx.GraphModule(module, after)


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    return node.args


def _shape(node: fx.Node) -> torch.Size | None:
    meta = node.meta.get("val", node.meta.get("tensor_meta"))
    return None if meta is None else meta.shape


def _attribute(module: fx.GraphModule, node: fx.Node) -> Tensor:
    value = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    assert isinstance(value, Tensor)
    return value


def _tensors(module: fx.GraphModule) -> list[Tensor]:
    return [_attribute(module, node) for node in module.graph.nodes if node.op == "get_attr"]
