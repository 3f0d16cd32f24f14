package io.gatun.bench.report;

import io.gatun.bench.AttentionCase;
import io.gatun.bench.AttentionData;
import io.gatun.bench.FormatProductCase;
import io.gatun.bench.NmMatmulCase;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.Result;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a product has to do at least, as its name tells: see {@link QMatmulCase#name}, {@link FormatProductCase#name},
 * {@link NmMatmulCase#name} and {@link AttentionCase#name}.
 *
 * @param kind how numbers are stored and multiplied: {@code int4 g32}, {@code int4 g32 precise}, {@code int4 g32 avx2},
 *     {@code nf4 b64 bf16}, {@code f32 2:4}, {@code attention bf16}
 * @param bytes to read from memory; of attention, to read and write
 * @param operations 2 a product, of sparse weights those of kept ones, of attention those of pairs that see each other
 */
record Work(String kind, double bytes, double operations) {
    private static final Pattern QMATMUL = Pattern.compile(
            "(int4|int8) (?:g(\\d+)|row) (\\w+) (\\d+)x(\\d+) m=(\\d+) t=(\\d+)(?: tier=(\\w+))?( mode=precise)?( odd)?");

    /** Empty for an op or a name that tells nothing of that. */
    static Optional<Work> of(Result result) {
        return switch (result.op()) {
            case "qmatmul" -> ofIntegers(result.caseName());
            case "quantize" ->
                FormatProductCase.named(result.caseName())
                        .map(problem -> new Work(problem.kind(), problem.weightBytes(), problem.operations()));
            case "nm_matmul" ->
                NmMatmulCase.named(result.caseName())
                        .map(problem -> new Work(problem.kind(), problem.weightBytes(), problem.operations()));
            case "attention" ->
                AttentionCase.named(result.caseName())
                        .filter(problem -> problem.kind() != AttentionCase.Kind.SELECT)
                        .map(problem -> new Work(
                                "attention " + problem.dtype(),
                                problem.bytes(),
                                problem.operations(AttentionData.pairs(problem))));
            default -> Optional.empty();
        };
    }

    private static Optional<Work> ofIntegers(String caseName) {
        Matcher name = QMATMUL.matcher(caseName);
        if (!name.matches()) {
            return Optional.empty();
        }
        QMatmulCase problem = new QMatmulCase(
                name.group(1),
                name.group(2) == null ? 0 : Integer.parseInt(name.group(2)),
                name.group(3),
                Long.parseLong(name.group(4)),
                Long.parseLong(name.group(5)),
                Long.parseLong(name.group(6)),
                Integer.parseInt(name.group(7)),
                name.group(8),
                name.group(9) != null,
                name.group(10) != null);
        String kind = problem.weights()
                + (problem.group() == 0 ? " row" : " g" + problem.group())
                + (problem.precise() ? " precise" : "")
                + (problem.tier() == null ? "" : " " + problem.tier());
        return Optional.of(new Work(kind, problem.weightBytes(), problem.operations()));
    }

    /** Operations a byte. */
    double intensity() {
        return operations / bytes;
    }
}
