"""Operations that users write with @differentiable: what is done for them, and what is refused."""

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import GraphError, IdRangeError, ShapeError
from scratchgrad.operation import OPS


def leaf(*values: float) -> sg.Tensor:
    return sg.tensor(list(values), requires_grad=True)


@sg.differentiable
def weighted(a, b, scale=1.0):
    """A tuple of functions, one an input."""
    return scale * a * b, (lambda dy: scale * dy * b, lambda dy: scale * dy * a)


@sg.differentiable
def weighted_at_once(a, b, scale=1.0):
    """One function that gives all the gradients."""
    return scale * a * b, lambda dy: (scale * dy * b, scale * dy * a)


@sg.differentiable
def gated(a, gate, /):
    """The second input has no gradient."""
    return a * gate, (lambda dy: dy * gate, None)


@pytest.mark.parametrize("op", [weighted, weighted_at_once])
def test_a_users_op_is_differentiated(op: object) -> None:
    a, b = (sg.tensor(np.array(v), requires_grad=True) for v in ([[1.0, 2.0, 3.0]], [[4.0], [5.0]]))
    report = sg.gradcheck(lambda a, b: op(a, b, scale=3.0), [a, b])
    assert report.entries == 5
    assert "weighted" in repr(op(a, b))


def test_it_can_be_called_by_position_and_by_name() -> None:
    a, b = sg.tensor([2.0]), sg.tensor([3.0])
    for y in (weighted(a, b, 2.0), weighted(a, b=b, scale=2.0), weighted(b=b, a=a, scale=2.0)):
        assert y.item() == 12


def test_an_input_that_is_missing_is_named() -> None:
    with pytest.raises(TypeError, match="weighted: the input 'b' is missing"):
        weighted(sg.tensor([1.0]))


def test_it_is_not_in_the_op_table() -> None:
    assert not {"weighted", "weighted_at_once", "gated"} & OPS.keys()


def test_it_keeps_its_name_and_docstring() -> None:
    assert weighted.__name__ == "weighted"
    assert weighted.__doc__ == "A tuple of functions, one an input."


def test_an_input_without_a_gradient_gets_none() -> None:
    a, gate = leaf(1.0, 2.0), leaf(0.0, 1.0)
    gated(a, gate).sum().backward()
    assert a.grad.tolist() == [0, 1]
    assert gate.grad is None


def test_only_the_needed_functions_are_called() -> None:
    def never(dy):
        raise AssertionError("this input wants no gradient")

    @sg.differentiable
    def one_sided(a, b):
        return a * b, (lambda dy: dy * b, never)

    a = leaf(1.0)
    one_sided(a, sg.tensor([2.0])).backward()
    one_sided(a, 3.0).backward()
    assert a.grad.tolist() == [5]


def test_broadcasting_is_undone() -> None:
    a = sg.tensor(np.ones((2, 1, 3)), requires_grad=True)
    b = sg.tensor(np.ones((4, 1)), requires_grad=True)
    weighted(a, b).backward(np.ones((2, 4, 3)))
    assert a.grad.tolist() == (4 * np.ones((2, 1, 3))).tolist()
    assert b.grad.tolist() == (6 * np.ones((4, 1))).tolist()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_gradients_is_refused(count: int) -> None:
    @sg.differentiable
    def miscounted(a, b):
        return a * b, lambda dy: (dy,) * count

    with pytest.raises(GraphError, match=f"miscounted: .*returned {count} gradients for 2 inputs"):
        miscounted(leaf(1.0), leaf(2.0)).backward()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_backward_functions_is_refused(count: int) -> None:
    @sg.differentiable
    def miscounted(a, b):
        return a * b, (lambda dy: dy,) * count

    with pytest.raises(GraphError, match=f"miscounted: .*{count} .*2 inputs"):
        miscounted(leaf(1.0), leaf(2.0)).backward()


def wrong_shape(shape: tuple[int, ...]) -> None:
    @sg.differentiable
    def misshapen(first, second):
        return first * second, (lambda dy: dy, lambda dy: np.ones(shape))

    misshapen(leaf(1.0, 2.0, 3.0), leaf(1.0, 2.0, 3.0)).backward([1.0, 1.0, 1.0])


@pytest.mark.parametrize("shape", [(), (1,), (2,), (4,), (2, 2), (3, 1)])
def test_a_gradient_of_a_wrong_shape_is_refused_by_op_and_input(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"misshapen: .*input 1 \(second\).*\(3,\).*returned"):
        wrong_shape(shape)


def test_the_input_of_a_variadic_op_is_named_by_its_place() -> None:
    @sg.differentiable
    def joined(*parts):
        return np.concatenate(parts), lambda dy: (dy[:2], dy)

    with pytest.raises(ShapeError, match=r"input 1 \(parts\[1\]\)"):
        joined(leaf(1.0, 2.0), leaf(2.0, 3.0)).backward([1.0, 1.0, 1.0, 1.0])


def test_errors_inside_are_given_the_name_of_the_op_and_the_shapes() -> None:
    @sg.differentiable
    def picky(a, b):
        return np.concatenate([a, b]).reshape(7), lambda dy: dy

    with pytest.raises(ShapeError, match=r"picky: cannot reshape.*\(1,\), \(2,\)"):
        picky(sg.tensor([1.0]), sg.tensor([1.0, 2.0]))

    @sg.differentiable
    def reaching(a, i=9):
        return a[i], lambda dy: dy

    with pytest.raises(IdRangeError, match="reaching: index 9 is out of bounds"):
        reaching(sg.tensor([1.0]))


def test_several_outputs_get_their_gradients_together() -> None:
    @sg.differentiable
    def both(x):
        def backward(dys):
            ds, dc = dys
            return ds * np.cos(x) - dc * np.sin(x)

        return (np.sin(x), np.cos(x)), backward

    x = np.array([0.3, 0.7])
    assert sg.gradcheck(both, [x]).entries == 2
    assert sg.gradcheck(lambda x: both(x)[0], [x]).entries == 2
    assert sg.gradcheck(lambda x: both(x)[1] * both(x)[0], [x]).entries == 2


def test_a_tuple_of_one_output_gets_a_tuple_of_one_gradient() -> None:
    @sg.differentiable
    def wrapped(x):
        return (2 * x,), lambda dys: 2 * dys[0]

    x = leaf(1.0, 2.0)
    (y,) = wrapped(x)
    y.backward([1.0, 10.0])
    assert x.grad.tolist() == [2, 20]


def test_an_output_of_integers_has_no_gradient() -> None:
    @sg.differentiable
    def largest(x):
        def backward(dys):
            dx = np.zeros_like(x)
            dx[i] = dys[0]
            return dx

        i = np.argmax(x)
        return (x[i], i), backward

    x = leaf(1.0, 5.0, 2.0)
    value, index = largest(x)
    assert not index.requires_grad
    value.backward()
    assert x.grad.tolist() == [0, 1, 0]


def test_float64_from_inside_does_not_leak() -> None:
    @sg.differentiable
    def careless(x):
        return x * np.ones(2, np.float64), lambda dy: dy.astype(np.float64) * np.pi

    x = leaf(1.0, 2.0)
    y = careless(x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_numbers_and_lists_are_taken_for_a_value_and_a_gradient() -> None:
    @sg.differentiable
    def total(x):
        return float(x.sum()), lambda dy: [float(dy)] * 2

    x = leaf(1.0, 2.0)
    y = total(x)
    assert y.shape == ()
    y.backward()
    assert x.grad.tolist() == [1, 1]


# A gradient may be an array that the op still uses, or has given to two inputs. It must never
# become the .grad of a leaf as it is: adding the next gradient to it would change the other.


def test_one_gradient_array_given_to_two_inputs_is_not_shared() -> None:
    @sg.differentiable
    def doubled_sum(a, b):
        def backward(dy):
            h = 2 * dy
            return h, h

        return 2 * (a + b), backward

    a, b = leaf(1.0), leaf(2.0)
    doubled_sum(a, b).backward()
    assert not np.shares_memory(a.grad, b.grad)


def test_one_gradient_array_given_to_a_leaf_and_a_result_is_not_changed_on_its_way() -> None:
    @sg.differentiable
    def doubled_sum(a, b):
        def backward(dy):
            h = 2 * dy
            return h, h

        return 2 * (a + b), backward

    a, x = leaf(1.0), leaf(1.0)
    b = x * 1.0  # older than the next line, so walked after it
    more = a * 5.0
    (doubled_sum(a, b) + more).backward()
    assert a.grad.tolist() == [7]
    assert x.grad.tolist() == [2]


def test_a_saved_array_returned_as_the_gradient_stays_what_it_was() -> None:
    @sg.differentiable
    def half_square(x):  # right only where dy is 1
        return x * x / 2, lambda dy: x

    x = leaf(3.0)
    half_square(x).backward()
    assert not np.shares_memory(x.grad, x.numpy())

    saved = np.array([2.0], np.float32)

    @sg.differentiable
    def constant_slope(x):
        return saved * x, lambda dy: saved

    x = leaf(3.0)
    (constant_slope(x) + constant_slope(x)).backward()
    assert x.grad.tolist() == [4]
    assert saved.tolist() == [2]


def test_a_view_of_a_gradient_that_a_leaf_was_given_is_not_changed_on_its_way() -> None:
    @sg.differentiable
    def difference(a, b):
        def backward(dy):
            h = dy * 1
            return h, h[::-1]

        return a + b[::-1], backward

    a, x = leaf(1.0, 1.0), leaf(1.0, 1.0)
    b = x * 1.0
    more = a * 5.0
    (difference(a, b) + more).sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert a.grad.tolist() == [6, 6]


def test_an_op_may_return_its_input_as_it_is() -> None:
    @sg.differentiable
    def same(x):
        return x, lambda dy: dy

    x = leaf(1.0)
    y = same(x)
    y.backward([3.0])
    assert x.grad.tolist() == [3]
    (same(x) * 2).backward()
    assert x.grad.tolist() == [5]


def test_a_setting_that_wants_a_gradient_is_refused() -> None:
    scale = leaf(2.0)
    with pytest.raises(sg.errors.DtypeError, match=r"weighted: .*setting.*inputs are a, b"):
        weighted(leaf(1.0), leaf(1.0), scale=scale)


def test_the_gradient_an_op_gets_is_an_array_even_for_a_single_number() -> None:
    @sg.differentiable
    def doubled(x):
        def backward(dy):
            assert isinstance(dy, np.ndarray)
            return 2 * dy

        return 2 * x, backward

    x = sg.tensor(3.0, requires_grad=True)
    y = doubled(x)
    (y + y).backward()  # two gradients, added on their way
    assert x.grad == 4


def test_a_users_backward_that_writes_to_dy_is_stopped() -> None:
    """The same dy may be waiting for another operation, whose gradient would be wrong."""

    @sg.differentiable
    def tripled(x):
        def backward(dy):
            dy *= 3
            return dy

        return 3 * x, backward

    a, b = (sg.tensor([1.0], requires_grad=True) for _ in range(2))
    with pytest.raises(ValueError, match="read-only"):
        (sg.sin(b) + tripled(a)).backward()


def test_a_users_forward_that_writes_to_its_input_is_stopped() -> None:
    @sg.differentiable
    def doubled(x):
        x *= 2
        return x, lambda dy: 2 * dy

    x = sg.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"doubled: .*read-only"):
        doubled(x)
    assert x.item() == 1


def test_an_operation_without_a_module() -> None:
    space: dict[str, object] = {}
    exec("def same(x):\n    return x * 1, lambda dy: dy", {}, space)
    x = sg.tensor([2.0], requires_grad=True)
    sg.differentiable(space["same"])(x).backward()
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (lambda x: x * 2, "received ndarray"),
        (lambda x: (x * 2, None), r"received \(ndarray, NoneType\)"),
        (lambda x: (x * 2,), r"received \(ndarray\)"),
        (lambda x: (x * 2, (1,)), r"received \(ndarray, tuple\)"),
        (lambda x: (x.sum(-1), x, x), r"received \(ndarray, ndarray, ndarray\)"),
    ],
)
def test_a_forgotten_backward_is_told(returned: object, says: str) -> None:
    op = sg.differentiable(returned)
    with pytest.raises(
        GraphError, match=f"expected its function to return .value, backward.*{says}"
    ):
        op(sg.tensor(np.ones((2, 3))))


def test_a_list_of_gradients_is_as_good_as_a_tuple() -> None:
    @sg.differentiable
    def add(a, b):
        return a + b, lambda dy: [dy, 2 * dy]

    a, b = (sg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    add(a, b).backward(np.ones(2))
    np.testing.assert_array_equal(a.grad, [1, 1])
    np.testing.assert_array_equal(b.grad, [2, 2])
