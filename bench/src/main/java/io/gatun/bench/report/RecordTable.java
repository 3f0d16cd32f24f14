package io.gatun.bench.report;

import io.gatun.bench.Rating;
import io.gatun.bench.Result;
import java.util.List;

/** All records, a line each. */
final class RecordTable {
    private static final List<String> HEADERS = List.of(
            "case",
            "implementation",
            "metric",
            "median",
            "min..max",
            "unit",
            "limit",
            "ratio",
            "any",
            "error",
            "kernel",
            "timed");

    private RecordTable() {}

    static void add(Html html, List<Result> results) {
        html.element(
                "table",
                () -> html.element(
                                "thead",
                                () -> html.element("tr", () -> HEADERS.forEach(name -> html.element("th", name))))
                        .element("tbody", () -> {
                            Result previous = null;
                            for (Result result : results) {
                                row(html, result, results, previous != null && sameCase(previous, result));
                                previous = result;
                            }
                        }));
    }

    private static void row(Html html, Result result, List<Result> results, boolean again) {
        Double any = result.isGatun() && result.metric().equals("time")
                ? Rating.ratio(
                        result,
                        Rating.bestPeer(
                                result,
                                results.stream()
                                        .filter(other -> sameCase(other, result)
                                                && other.metric().equals("time"))
                                        .toList(),
                                false))
                : null;
        html.element(
                "tr",
                () -> {
                    html.element("td", result.op().equals("limits") ? "limit " + result.caseName() : result.caseName());
                    html.element("td", result.impl());
                    html.element("td", result.metric());
                    number(html, Numbers.digits(result.median()));
                    number(html, Numbers.digits(result.min()) + ".." + Numbers.digits(result.max()));
                    html.element("td", result.unit());
                    number(html, Numbers.percent(result.percentOfLimit()));
                    number(html, Numbers.ratio(result.ratioToBestPeer()));
                    number(html, Numbers.ratio(any));
                    number(html, result.relError() == null ? "" : Numbers.digits(result.relError()));
                    html.element("td", text(result.kernel()), "class", "small");
                    html.element("td", text(result.timed()), "class", "small");
                },
                "class",
                (result.isGatun() ? "ours" : "theirs") + (again ? " again" : ""));
    }

    private static void number(Html html, String number) {
        html.element("td", number, "class", "number");
    }

    private static String text(String text) {
        return text == null ? "" : text;
    }

    private static boolean sameCase(Result a, Result b) {
        return a.op().equals(b.op()) && a.caseName().equals(b.caseName());
    }
}
