"""The names of everything under `results/`, which no other room makes.

results/<save>/                     the one-shot phase
results/<save>/<phase>/             a few-shot phase: 2, 3_from_2, ..., 7_from_6, depth34x2_from_2, ...
    last.pth                        state for resuming
    <tau>_<epoch>.pth               candidates; epoch_<epoch>.pth if tau is undefined or not positive
    supernet.pth                    the chosen one
    config.yml manifest.json log.jsonl events/
    json_results/epoch<E>[_all_test][_sample<N>]/   an evaluation, of all archs or of a sample
        journal_<parts>.jsonl       finished work units, while it runs
        <metric>_json<part>.json    a part's scores by top1, top5 or prob
        manifest<part>.json         how they were made
        <metric>_json_final.json    all parts, merged
        manifest_final.json
results/<save>/stand_alone/<arch>_seed<n>/   a training from scratch
    subnet.pth result.json          the network, and its accuracies
results/<save>/gt_arch30.json       the ground truth made from these
results/<save>/rank/                the ranker's predictions for the whole pool
    predicted.json error.json       arch files: accuracies, and their standard deviations
    predicted.csv                   the same beside the archs' costs, as a table
    ranking.json                    how well each ranking orders the truth
results/<save>/finetune/<search>_seed<n>/   a found arch's, from inherited weights; without a search, <phase>_<code>
    subnet.pth result.json          the network, and its accuracies
results/<save>/searches/<name>/     a search under bounds
    journal.jsonl                   the scores of each generation, as soon as it is scored
    found.json front.csv            all archs that were scored, and those that none beats
results/<save>/latency/             tables of latencies, one for each device and way to run
results/<save>/report.html
results/<save>/search/              a Cream search: board.json after each epoch, path.json at the end
results/<save>/retrain_<name>/      a Cream retraining: <name>.pth.tar at the end
"""
