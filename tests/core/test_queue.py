import pytest
import torch
import torch.distributed as dist

from gcisg_core.queue import SupportQueue
from tests.processes import on_two_ranks


def rows(start: int, count: int) -> torch.Tensor:
    """Rows that carry their own number."""
    return torch.arange(start, start + count, dtype=torch.float32)[:, None].repeat(1, 2)


def newest_first(queue: SupportQueue) -> list[int]:
    size, pointer = len(queue.features), int(queue.pointer)
    return [int(queue.features[(pointer - 1 - age) % size, 0]) for age in range(size)]


@pytest.mark.parametrize("batches", [[3, 3, 3], [5], [2, 9], [23], [1] * 13, [5, 0, 5], [4, 12, 1]])
def test_keeps_the_last_rows_in_order(batches):
    queue, total = SupportQueue(5, 2), 0
    for count in batches:
        queue.enqueue(rows(total, count))
        total += count
        assert int(queue.pointer) == total % 5
    assert newest_first(queue) == list(range(total - 1, total - 6, -1)) or total < 5


def test_starts_with_unit_vectors_that_do_not_depend_on_the_random_state():
    torch.manual_seed(1)
    first = SupportQueue(100, 8)
    torch.manual_seed(2)
    assert torch.equal(first.features, SupportQueue(100, 8).features)
    torch.testing.assert_close(first.features.norm(dim=1), torch.ones(100))


def test_goes_on_after_its_state_was_saved():
    first, second = SupportQueue(5, 2), SupportQueue(5, 2, seed=1)
    first.enqueue(rows(0, 7))
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.enqueue(rows(7, 2))
    assert newest_first(second) == newest_first(first) == [8, 7, 6, 5, 4]


def test_keys_lose_gradient_and_take_the_queues_type():
    queue = SupportQueue(4, 2)
    queue.enqueue(torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True))
    assert queue.features.dtype is torch.float32
    assert not queue.features.requires_grad


@pytest.mark.parametrize("shape", [(3,), (3, 5), (1, 3, 2)])
def test_refuses_keys_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"keys must have the shape \(N, 2\)"):
        SupportQueue(4, 2).enqueue(torch.zeros(shape))


def test_refuses_an_empty_queue():
    with pytest.raises(ValueError, match="size=0"):
        SupportQueue(0, 2)


def _two_ranks(rank: int, folder: str, device: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(rank)
    queue = SupportQueue(6, 2).to(device)
    start = 0
    # Rank 0 and 1 hold different numbers of rows, none at all and more than the queue.
    for counts in [(2, 1), (0, 3), (4, 0), (5, 4), (0, 0)]:
        queue.enqueue(rows(start + sum(counts[:rank]), counts[rank]).to(device))
        start += sum(counts)
    torch.save(queue.state_dict(), f"{folder}/{rank}.pth")
    dist.destroy_process_group()


def test_ranks_with_different_numbers_of_rows_hold_the_same_queue(tmp_path, device):
    """On a GPU both share it, as gloo lets them."""
    on_two_ranks(_two_ranks, str(tmp_path), device)
    queues = [SupportQueue(6, 2) for _ in range(2)]
    for rank, queue in enumerate(queues):
        queue.load_state_dict(torch.load(tmp_path / f"{rank}.pth", "cpu", weights_only=True))
    assert newest_first(queues[0]) == newest_first(queues[1]) == [18, 17, 16, 15, 14, 13]


def test_wraps_where_it_is(device):
    queue = SupportQueue(5, 2).to(device)
    queue.enqueue(rows(0, 7).to(device))
    assert queue.features.device.type == device
    assert newest_first(queue) == [6, 5, 4, 3, 2]
