package io.gatun.bench;

import io.gatun.Gatun;
import io.gatun.bench.peers.Peers;
import io.gatun.bench.report.Report;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** {@code ./gatun bench}: limits of the machine, then each op beside its peers; records and a report. */
public final class Bench {
    /** In the order in which they run. */
    private static final List<Op> OPS = List.of(
            new QMatmulBench(BuildTree.root().resolve("bench/shapes/qmatmul.csv"), Peers::all),
            new QuantizeBench(Peers::quantizers),
            new OptimizerBench(Peers::optimizers),
            new NmMatmulBench(BuildTree.root().resolve("bench/shapes/nm_matmul.csv"), Peers::all),
            new AttentionBench(Peers::attention),
            new DecodeBench(Peers::decode));

    private static final int WRONG_USAGE = 2;
    private static final int FAILED = 1;

    private Bench() {}

    /** Runs what the arguments say; see {@link Arguments#parse}. */
    public static void main(String[] words) {
        Arguments arguments;
        try {
            arguments = Arguments.parse(
                    List.of(words),
                    OPS.stream().map(Op::name).toList(),
                    Peers.NAMES,
                    Runtime.getRuntime().availableProcessors());
        } catch (IllegalArgumentException e) {
            System.err.println("gatun bench: " + e.getMessage());
            System.exit(WRONG_USAGE);
            return;
        }
        try {
            run(arguments, List.of(words));
            System.exit(0); // some peers leave threads behind
        } catch (Throwable e) { // whatever it is: threads of peers would keep the process alive
            System.err.println("gatun bench: " + (e.getMessage() == null ? e : e.getMessage()));
            if (!(e instanceof OutputCheck.WrongOutput)) {
                e.printStackTrace();
            }
            System.exit(FAILED);
        }
    }

    private static void run(Arguments arguments, List<String> words) throws Exception {
        long started = System.nanoTime();
        Path folder = BuildTree.results();
        Progress progress = new Progress();
        System.out.print(Gatun.cpuReport());
        MeasuredLimits limits = new MeasuredLimits();
        limits.measureAll(arguments.threadCounts(), progress);
        Table table = new Table(System.out);
        table.list("limits of this machine, now", limits.results());
        Rounds rounds = arguments.quick() ? Rounds.QUICK : Rounds.FULL;
        Session session = new Session(arguments, limits, rounds, folder, table, progress);
        for (Op op : OPS) {
            if (arguments.op() == null || arguments.op().equals(op.name())) {
                op.run(session);
            }
        }
        // Last, as cases ask for limits of their own.
        Records.write(folder, MeasuredLimits.OP, limits.results());
        List<Result> all = new ArrayList<>(limits.results());
        all.addAll(session.results());
        Path report = Report.write(folder, all, words);
        System.out.printf(
                "%nrecords: %s%nreport: %s%n%d s%n", folder, report, (System.nanoTime() - started) / 1_000_000_000);
    }
}
