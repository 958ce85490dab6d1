"""A search, from its settings to the path that it finds: the board remembers the best paths that were trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.board import Board, BoardEntry, BoardKeeping, ByBatch, ByReview, TrainedPath, review_steps
from fewshot_nas.cream.config import SearchConfig, StoredSearch
from fewshot_nas.cream.flops import PRIOR, UNIFORM, Budget
from fewshot_nas.cream.model import Model
from fewshot_nas.cream.runs import CreamRun
from fewshot_nas.cream.teaching import BoardTeacher, Matching, PathSampler, PathStep
from fewshot_nas.data.images import Images, split_off
from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import normalize
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Accuracy, Inputs, guessing
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.subnet import extract, inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import write_json
from fewshot_nas.records.journal import Record
from fewshot_nas.results.directories import SearchDirectory
from fewshot_nas.running.images import trained_on
from fewshot_nas.running.life import Begun, Training
from fewshot_nas.running.run import placed, seed_weights
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import one_shot, shared, split_of
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Schedule, set_rate
from fewshot_nas.training.step import Regularization
from fewshot_nas.training.task import Batch, Learning, Task, Trained, plain_groups, sgd

HELD_SHARE = 8  # at most one of so many training images is held out


@dataclass(frozen=True)
class SearchSchedule(Schedule):
    """The learning rate falls linearly, and would be 0 at the step after the last."""

    def rate(self, per_epoch: int) -> Callable[[int], float]:
        total = self.epochs * per_epoch
        return lambda step: self.lr * (1 - step / total)


@dataclass(frozen=True, kw_only=True)
class SearchRun(CreamRun):
    """A run that searches."""

    config: SearchConfig

    @cached_property
    def budget(self) -> Budget:
        return self.config.budget()

    @property
    def space(self) -> MBConvSpace:
        return self.config.network(len(self.images.mean))

    @property
    def stored(self) -> StoredSearch:
        return self.config.stored(len(self.images.mean))

    @property
    def calibration(self) -> int:
        """Supernets have no running statistics."""
        return self.config.CALIBRATION_IMAGES

    @cached_property
    def _split(self) -> tuple[Images, Images]:
        train, config = self.images.train, self.config
        if config.BOARD == "batch" and not config.FINAL_STEPS:
            return train, train
        return split_off(train, max(2, min(config.HELD_IMAGES, len(train) // HELD_SHARE)))

    @cached_property
    def data(self) -> ImageData:
        """The data set of the settings, without the held images."""
        return replace(self.images, train=self._split[0])

    @property
    def held(self) -> Images:
        """The training images that nobody trains on, for reviews and the last choice: at most an eighth of all."""
        return self._split[1]


@dataclass(kw_only=True)
class SearchTask(Task[Supernet, PathStep]):
    """A search, for `Loop`.

    Attributes:
        network: its split is `shared` at first if choices share weights at the beginning, and then `one_shot`.
        optimizer_of: makes the optimizer of a supernet.
        shared_epochs: number of epochs, at the beginning, in which all choices of a block share their weights.
        board_file: where the board is written after each epoch.
        due: epochs, counted from 0, after which the best path is validated on `inputs`.
    """

    optimizer: torch.optim.Optimizer = field(init=False)
    world: World
    optimizer_of: Callable[[Supernet], torch.optim.Optimizer]
    inputs: Inputs
    due: frozenset[int]
    board_file: Path
    shared_epochs: int = 0

    def __post_init__(self) -> None:
        self.optimizer = self.optimizer_of(self.network)

    @property
    def keeping(self) -> BoardKeeping:
        """Who keeps the board."""
        return self.step.teacher.keeping

    def after_backward(self, batch: Batch, trained: Trained, means: Tensor) -> None:
        (path,), right = self.step.sampler.archs(batch.step), means[1]
        if batch.share:  # a whole number of images was right: the rounding of a mean must not decide
            right = (right * batch.share.total).round() / batch.share.total
        self.keeping.note(TrainedPath(batch.step, path, self.network, batch.images, trained.logits[0], right))

    def end_epoch(self, epoch: int) -> Record:
        """Write the board, and validate the best path if there is one and it is due.

        After the last epoch in which choices share weights, each gets a copy of its part.
        """
        self.keeping.apply_pending()
        entries = [self._described(entry) for entry in self.keeping.board.entries]
        record: Record = {"board": {"paths": len(entries), "measure": self.keeping.measure, "entries": entries}}
        if self.world.is_rank0:
            write_json(self.board_file, {"epoch": epoch, "board": entries})
            if epoch in self.due and entries:
                best = self.best().candidate
                record |= {"top1": {"best": self.validated(best).top1}, "path": self.network.space.encode(best)}
                record["guessing"] = guessing(self.inputs.labels)
        if epoch + 1 == self.shared_epochs:
            self._separate()
        return record

    def _separate(self) -> None:
        """Give every choice weights of its own. Momentum begins anew."""
        parent = self.network
        self.network = placed(inherit(parent, one_shot(parent.space)), self.world)
        self.network.trained_on = parent.trained_on
        self.optimizer = self.optimizer_of(self.network)

    def best(self) -> BoardEntry[Arch]:
        """The best entry of the board, which must not be empty."""
        self.keeping.apply_pending()
        return self.keeping.board.entries[0]

    def validated(self, path: Arch) -> Accuracy:
        """The accuracy of a path with the supernet's weights and with its own batch norm statistics."""
        return Scorer(self.network, self.inputs).scores([path])[0]

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write a supernet file with the matching network, both optimizers and the board."""
        self.keeping.apply_pending()
        more = {name: part.state_dict() for name, part in self._state().items()}
        save_supernet(path, self.network, {**more, "board": self.keeping.board.state_dict(), **state})

    def restore(self, content: Mapping[str, Any]) -> None:
        if split_of(self.network.space, content) != self.network.split:
            self._separate()
        self.network.load_state_dict(content["model"])
        for name, part in self._state().items():
            part.load_state_dict(content[name])
        self.keeping.board.load_state_dict(content["board"], self.world.device)
        self.keeping.restart()

    def _state(self) -> dict[str, Any]:
        teacher = self.step.teacher
        return {"optimizer": self.optimizer, "matching": teacher.matching, "matching_optimizer": teacher.optimizer}

    def _described(self, entry: BoardEntry[Arch]) -> dict[str, Any]:
        code = self.network.space.encode(entry.candidate)
        return {"INPUT_ARCH": code, self.keeping.measure: entry.accuracy, "mflops": entry.cost}


@dataclass(frozen=True, kw_only=True)
class Search(Training[SearchTask]):
    """A supernet whose best paths teach the others, and the choice of one of them."""

    run: SearchRun
    directory: SearchDirectory

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self.run.manifest({"space": self.run.space.values()})

    def begin(self) -> Begun[SearchTask]:
        """The supernet with first weights, who is drawn, who teaches, and who comes onto the board."""
        run, config, world, seed = self.run, self.run.config, self.run.world, self.run.config.run.seed
        _check(run)
        seed_weights(seed)
        space, classes = run.space, run.data.num_classes
        network = placed(Supernet(shared(space) if config.SHARED_EPOCHS else one_shot(space), classes), world)
        network.trained_on = trained_on(run.images)
        matching = placed(Matching(config.SLICE, classes), world)
        sampler = PathSampler(seed, run.budget, PRIOR if config.SAMPLING == "prior" else UNIFORM)
        sampler.archs(0)  # impossible bounds are refused here, not in the first step
        schedule = SearchSchedule(**run.scheduled, epochs=config.EPOCHS, warmup_epochs=0, lr=config.LR)
        teacher = BoardTeacher(
            keeping=self._keeping(),
            matching=matching,
            optimizer=torch.optim.Adam(matching.parameters(), config.META_LR),
            per_epoch=run.per_epoch,
            rate=schedule.rate(run.per_epoch),
            world=world,
            start_epoch=config.META_STA_EPOCH,
            pick=config.PICK_METHOD,
            slice=config.SLICE,
            every=config.TEACH_EVERY,
            update_every=config.UPDATE_ITER,
        )
        smoothed, precision = Regularization(config.SMOOTHING), config.run.precision
        task = SearchTask(
            network=network,
            optimizer_of=lambda supernet: sgd(plain_groups(supernet, config.WEIGHT_DECAY), config.MOMENTUM),
            step=PathStep(sampler=sampler, teacher=teacher, regularization=smoothed, precision=precision),
            world=world,
            inputs=run.valid,
            due=run.due(config.EPOCHS),
            board_file=self.directory.board,
            shared_epochs=config.SHARED_EPOCHS,
        )
        return Begun(task, run.source(jitter=config.COLOR_JITTER), schedule)

    def _keeping(self) -> BoardKeeping:
        run, config = self.run, self.run.config
        first, board = config.SHARED_EPOCHS * run.per_epoch, Board[Arch](config.POOL_SIZE, config.ACC_GAP)
        if config.BOARD == "batch":
            return ByBatch(board, run.budget, config.SLICE, run.world, first=first)
        return ByReview(
            board=board,
            budget=run.budget,
            inputs=run.inputs(run.held),
            steps=review_steps(first, config.EPOCHS * run.per_epoch, config.REVIEWS),
            size=config.POOL_SIZE,
            candidates=config.REVIEW_PATHS,
            seed=config.run.seed,
            images_kept=config.SLICE,
            world=run.world,
        )

    def finish(self, task: SearchTask, log: RunLog) -> None:
        task.keeping.apply_pending()
        best, decided = self._decided(task)
        data, accuracy, model = self.run.data, task.validated(best.candidate), Model(self.run.space, best.candidate)
        cost = model.space.cost(model.arch, num_classes=data.num_classes)
        known = {"macs": cost.macs, "params": cost.params, "mflops": best.cost}
        scores = {"top1": accuracy.top1, "top5": accuracy.top5, task.keeping.measure: best.accuracy}
        scores["guessing"] = guessing(task.inputs.labels)
        save_supernet(self.directory.supernet, task.network, {"epoch": self.run.config.EPOCHS - 1})
        write_json(self.directory.chosen, {**model.values(), **known, **scores, **decided, "data": data.name})
        self.run.report(
            f"INPUT_ARCH={model.code}: top-1 {accuracy.top1:.2f} % with the supernet's weights,"
            f" {cost.params:,} params, {cost.macs:,} MACs; wrote {self.directory.chosen}"
        )

    def _decided(self, task: SearchTask) -> tuple[BoardEntry[Arch], dict[str, Any]]:
        """The entry of the board that is the result, and what decided it beside the board."""
        entries, encode = task.keeping.board.entries, task.network.space.encode
        if not self.run.config.FINAL_STEPS:
            return entries[0], {}
        found = final_scores(self.run, task.network, [entry.candidate for entry in entries])
        probs = [accuracy.prob for accuracy in found]
        finals = [
            {"INPUT_ARCH": encode(entry.candidate), task.keeping.measure: entry.accuracy, "final_prob": prob}
            for entry, prob in zip(entries, probs, strict=True)
        ]
        return entries[probs.index(max(probs))], {"final_prob": max(probs), "finals": finals}


def _check(run: SearchRun) -> None:
    """Refuse settings that do not fit each other or the images.

    The matching network compares SLICE images, of a batch or of the held ones, which a board by reviews keeps.
    """
    config, batch = run.config, run.batch // run.world.size  # rank 0 has the slices
    if config.SHARED_EPOCHS >= config.EPOCHS:
        raise InputError(
            f"SHARED_EPOCHS is {config.SHARED_EPOCHS}, expected less than EPOCHS, which is {config.EPOCHS}"
        )
    least = (2 if config.PICK_METHOD == "meta" else 1) * config.SLICE
    if batch < least:
        raise InputError(
            f"a process has batches of {batch} images, expected at least {least} for SLICE={config.SLICE};"
            " change BATCH_SIZE or SLICE"
        )
    if config.BOARD == "review" and config.PICK_METHOD == "meta" and len(run.held) < config.SLICE:
        raise InputError(
            f"only {len(run.held)} images are held out for reviews, expected at least {config.SLICE} for"
            f" SLICE={config.SLICE}; raise HELD_IMAGES or data.train_images, at most an eighth of which is held out,"
            " or lower SLICE"
        )


def final_scores(run: SearchRun, supernet: Supernet, paths: Sequence[Arch]) -> list[Accuracy]:
    """The accuracies of paths on the held images, after each has trained alone for FINAL_STEPS; the supernet stays.

    Weights that many paths share suit none of them fully, and some paths less than others. A few steps alone show what
    a path can make of its own weights. They cost much more than a score, so they are for the last choice among a few
    paths. All train side by side, so that each batch is made once, on one process and with its share of a batch; then
    each is scored with batch norms of its own.
    """
    config, world, source = run.config, run.world, run.source(jitter=run.config.COLOR_JITTER)
    share, inputs = max(2, config.BATCH_SIZE // world.size), run.inputs(run.held)
    batches = TrainBatches(
        source.images,
        source.transform,
        batch_size=share,
        seed=config.run.seed,
        workers=source.workers,
        device=world.device,
    )
    networks = nn.ModuleList(extract(supernet, path).to(memory_format=torch.channels_last) for path in paths)
    optimizer = sgd(plain_groups(networks, config.WEIGHT_DECAY), config.MOMENTUM)
    step = Learning(config.SMOOTHING, config.run.precision)
    new = chain.from_iterable(map(batches.epoch, count(config.EPOCHS)))  # batches that the search has not seen
    for number, (images, labels) in enumerate(islice(new, config.FINAL_STEPS)):
        batch = Batch(normalize(images.to(world.device), source.mean, source.std), labels.to(world.device), number)
        optimizer.zero_grad(set_to_none=True)
        for network in networks:
            step.backward(network, batch)
        set_rate(optimizer, config.FINAL_LR * (1 - number / config.FINAL_STEPS))
        optimizer.step()
    with inputs.autocast():
        for network in networks:
            calibrate(network, inputs.calibration_batches())
    return [measure(network, inputs) for network in networks]
