"""PyTorch as a peer of gatun_cuda_bench: answers each line of the input, a request, with a line of JSON.

    matmul_bf16 rows columns depth      torch.nn.functional.linear
    int_mm rows columns depth           torch._int_mm: int8 without scales, int32 outputs
    scaled_mm_f8 rows columns depth     torch._scaled_mm: e4m3, one scale a row and a column, bf16 outputs
    int4_mm rows columns depth group    torch._weight_int4pack_mm: bf16 with 4-bit weights
    int8_weight_mm rows columns depth   torch._weight_int8pack_mm: bf16 with 8-bit weights
    sparse_mm_bf16 rows columns depth   linear with 2:4 weights of to_sparse_semi_structured, by cuSPARSELt
    sparse_mm_i8 rows columns depth     the same in int8 without scales, by torch._cslt_sparse_mm
    quantize_int8 rows depth group      bf16 -> int8, scales amax / 127 in f32, as eager operations
    quantize_int8_compiled ...          the same under torch.compile
    dequantize_int8 rows depth group    the inverse
    attention heads length size causal  scaled_dot_product_attention, bf16
    flex_attention heads length size block permille
                                        FlexAttention under torch.compile over blocks, those of attention_bench.cc
    decode_bf16 batch heads kv_heads keys size    scaled_dot_product_attention of one query, enable_gqa, no pages
    adamw count bits                    torch.optim.AdamW, fused, of f32 (32 bits) or bf16, with state of that type

The answer has the seconds of a call: {"impl": ..., "median": ..., "min": ..., "max": ...}, or {"skip": <why not>}. The first
line that is printed has the version. Calls are timed as those of the bench: in CUDA graphs where they can be captured, over
several copies of the weights.
"""

import json
import statistics
import sys

BATCH_SECONDS = 1e-3
SAMPLES = 60


def say(answer):
    print(json.dumps(answer).replace('\\"', "'"), flush=True)


try:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no CUDA device")
    DEVICE = torch.device("cuda", 0)
    CACHE = torch.cuda.get_device_properties(DEVICE).L2_cache_size
except Exception as error:  # whatever is wrong here, the bench goes on without
    say({"skip": f"{type(error).__name__}: {error}".replace("\n", " ")})
    sys.exit(0)


def turns_for(size):
    return max(2, min(64, -(-4 * CACHE // size)))


def time_calls(impl, calls):
    """Times the calls, each of which uses memory of its own, one after the other."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
        stream.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for call in calls * 2:
            call()
        end.record()
        stream.synchronize()
        seconds = 1e-3 * begin.elapsed_time(end) / (2 * len(calls))
        count = max(len(calls), min(500, int(BATCH_SECONDS / seconds) + 1))
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                for i in range(count):
                    calls[i % len(calls)]()
            replay = graph.replay
        except Exception:
            torch.cuda.synchronize()

            def replay():
                for i in range(count):
                    calls[i % len(calls)]()

        events = [torch.cuda.Event(enable_timing=True) for _ in range(SAMPLES + 1)]
        replay()
        for event in events[:1]:
            event.record()
        for event in events[1:]:
            replay()
            event.record()
        stream.synchronize()
    samples = [1e-3 * a.elapsed_time(b) / count for a, b in zip(events, events[1:])]
    return {"impl": impl, "median": statistics.median(samples), "min": min(samples), "max": max(samples)}


def random(rows, depth):
    return torch.rand(rows, depth, device=DEVICE, dtype=torch.bfloat16) * 2 - 1


def copies(weight):
    return [weight] + [weight.clone() for _ in range(turns_for(weight.numel() * weight.element_size()) - 1)]


def matmul_bf16(rows, columns, depth):
    x = random(rows, depth)
    weights = copies(random(columns, depth))
    return time_calls("bf16", [lambda w=w: torch.nn.functional.linear(x, w) for w in weights])


def random_i8(rows, depth):
    return torch.randint(-127, 128, (rows, depth), device=DEVICE, dtype=torch.int8)


def int_mm(rows, columns, depth):
    x = random_i8(rows, depth)
    weights = copies(random_i8(columns, depth))
    return time_calls("int_mm, no scales", [lambda w=w: torch._int_mm(x, w.t()) for w in weights])


def scaled_mm_f8(rows, columns, depth):
    x = random(rows, depth).to(torch.float8_e4m3fn)
    weights = copies(random(columns, depth).to(torch.float8_e4m3fn))
    x_scales = torch.ones(rows, 1, device=DEVICE)
    scales = torch.ones(1, columns, device=DEVICE)
    return time_calls(
        "scaled_mm e4m3 both",
        [lambda w=w: torch._scaled_mm(x, w.t(), x_scales, scales, out_dtype=torch.bfloat16) for w in weights],
    )


def int4_mm(rows, columns, depth, group):
    x = random(rows, depth)
    codes = torch.randint(0, 256, (columns, depth // 2), device=DEVICE, dtype=torch.uint8)
    weights = copies(torch._convert_weight_to_int4pack(codes, 8))
    scales = torch.rand(depth // group, columns, 2, device=DEVICE, dtype=torch.bfloat16)
    return time_calls(
        "int4pack_mm", [lambda w=w: torch._weight_int4pack_mm(x, w, group, scales) for w in weights]
    )


def int8_weight_mm(rows, columns, depth):
    x = random(rows, depth)
    weights = copies(random_i8(columns, depth))
    scales = torch.rand(columns, device=DEVICE, dtype=torch.bfloat16)
    return time_calls("int8pack_mm", [lambda w=w: torch._weight_int8pack_mm(x, w, scales) for w in weights])


def keep_two_of_four(weight):
    weight.view(weight.shape[0], -1, 4)[..., 2:] = 0
    return weight


def sparse_mm_bf16(rows, columns, depth):
    torch.sparse.SparseSemiStructuredTensor._FORCE_CUTLASS = False
    x = random(rows, depth)
    weights = [torch.sparse.to_sparse_semi_structured(w) for w in copies(keep_two_of_four(random(columns, depth)))]
    if type(weights[0]).__name__ != "SparseSemiStructuredTensorCUSPARSELT":
        raise RuntimeError("to_sparse_semi_structured gives " + type(weights[0]).__name__)
    return time_calls("cuSPARSELt 2:4", [lambda w=w: torch.nn.functional.linear(x, w) for w in weights])


def sparse_mm_i8(rows, columns, depth):
    x = random_i8(rows, depth)
    weights = [torch._cslt_compress(w) for w in copies(keep_two_of_four(random_i8(columns, depth)))]
    return time_calls(
        "cuSPARSELt 2:4 int8, no scales", [lambda w=w: torch._cslt_sparse_mm(w, x.t()) for w in weights]
    )


def to_int8(x, group):
    blocks = x.view(x.shape[0], -1, group).float()
    scales = blocks.abs().amax(-1, keepdim=True) / 127
    codes = (blocks * (1 / scales)).round().clamp(-127, 127).to(torch.int8)
    return codes, scales


def quantize_int8(rows, depth, group):
    x = random(rows, depth)
    return time_calls("eager", [lambda: to_int8(x, group)])


def quantize_int8_compiled(rows, depth, group):
    x = random(rows, depth)
    compiled = torch.compile(to_int8, dynamic=False)
    return time_calls("compiled", [lambda: compiled(x, group)])


def dequantize_int8(rows, depth, group):
    codes, scales = to_int8(random(rows, depth), group)
    return time_calls("eager", [lambda: (codes * scales).to(torch.bfloat16).view(rows, depth)])


def heads_of(heads, length, size):
    return [random(heads * length, size).view(1, heads, length, size) for _ in range(3)]


def attention(heads, length, size, causal):
    q, k, v = heads_of(heads, length, size)
    return time_calls(
        "sdpa", [lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=bool(causal))]
    )


def flex_attention(heads, length, size, block, permille):
    from torch.nn.attention import flex_attention as flex

    q, k, v = heads_of(heads, length, size)
    blocks = -(-length // block)
    i = torch.arange(blocks, device=DEVICE).view(-1, 1)
    j = torch.arange(blocks, device=DEVICE).view(1, -1)
    seen = (i == j) | ((i * 7919 + j * 104729 + i * j * 31) % 1000 < permille)
    mask = flex.create_block_mask(lambda b, h, x, y: seen[x // block, y // block], None, None, length, length,
                                  device=DEVICE, BLOCK_SIZE=block)
    compiled = torch.compile(flex.flex_attention, dynamic=False)
    return time_calls("flex_attention", [lambda: compiled(q, k, v, block_mask=mask)])


def decode_bf16(batch, heads, kv_heads, keys, size):
    q = random(batch * heads, size).view(batch, heads, 1, size)
    k = copies(random(batch * kv_heads * keys, size).view(batch, kv_heads, keys, size))
    v = [x.flip(0).clone() for x in k]
    return time_calls(
        "sdpa bf16",
        [
            lambda k=k, v=v: torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
            for k, v in zip(k, v)
        ],
    )


def adamw(count, bits):
    dtype = torch.float32 if bits == 32 else torch.bfloat16
    p = torch.nn.Parameter(torch.rand(count, device=DEVICE).to(dtype))
    p.grad = torch.rand_like(p)
    optimizer = torch.optim.AdamW([p], lr=1e-3, fused=True, capturable=True)
    return time_calls("AdamW, fused", [optimizer.step])


REQUESTS = {
    function.__name__: function
    for function in (
        matmul_bf16,
        int_mm,
        scaled_mm_f8,
        int4_mm,
        int8_weight_mm,
        sparse_mm_bf16,
        sparse_mm_i8,
        quantize_int8,
        quantize_int8_compiled,
        dequantize_int8,
        attention,
        flex_attention,
        decode_bf16,
        adamw,
    )
}

say({"torch": torch.__version__})
for line in sys.stdin:
    words = line.split()
    try:
        answer = REQUESTS[words[0]](*map(int, words[1:]))
    except Exception as error:
        answer = {"skip": f"{type(error).__name__}: {error}".replace("\n", " ")[:200]}
    say(answer)
    torch.cuda.empty_cache()
