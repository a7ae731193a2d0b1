"use strict";
// The viewer: one image that is mixed of those there are, and one overlay, drawn by NiiVue.
(async () => {
  const at = (id) => document.getElementById(id);
  const canvas = at("canvas");
  const planes = at("planes");
  if (!document.createElement("canvas").getContext("webgl2")) {
    at("viewer").hidden = true;
    return; // the planes are open
  }
  const { Niivue, NVImage } = globalThis.niivue;
  const content = JSON.parse(at("volumes").textContent);
  const nv = new Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [0.35, 0.65, 1, 0.7], crosshairWidth: 0.3, crosshairGap: 8, fontColor: [1, 0.82, 0.36, 1],
    isColorbar: false, isRadiologicalConvention: true, sagittalNoseLeft: true, multiplanarShowRender: 0,
    dragAndDropEnabled: false, isForceMouseClickToVoxelCenters: true, fontMinPx: 18, loadingText: "", logLevel: "error",
  });
  await nv.attachToCanvas(canvas);
  nv.setInterpolation(false);

  const ramp = (colours, alphas) => ({
    R: colours.map((c) => c[0]), G: colours.map((c) => c[1]), B: colours.map((c) => c[2]),
    A: alphas, I: colours.map((_, k) => Math.round((255 * k) / (colours.length - 1))),
  });
  const RAMPS = {
    diverging: ramp([[165, 216, 255], [31, 111, 235], [22, 27, 34], [217, 72, 15], [255, 216, 168]],
      [255, 220, 20, 220, 255]),
    growing: ramp([[68, 1, 84], [49, 104, 142], [53, 183, 121], [253, 231, 37]], [0, 180, 230, 255]),
    lines: ramp([[88, 166, 255], [88, 166, 255], [255, 255, 255], [255, 255, 255]], [0, 150, 255, 255]),
  };
  for (const [name, map] of Object.entries(RAMPS)) nv.addColormap(name, map);

  const read = (item) => NVImage.loadFromBase64({
    base64: item.data, name: `${item.name}.nii.gz`, cal_min: 0, cal_max: 255, trustCalMinMax: true,
  });
  const images = await Promise.all(content.images.map(read));
  const base = await read(content.images[0]);
  const stored = images.map((image) => image.img);
  const mixed = new Uint8Array(stored[0]);
  base.img = mixed;
  nv.addVolume(base);

  // what is shown: image k, or a mixture of k and k + 1
  const [nx, ny] = [base.hdr.dims[1], base.hdr.dims[2]];
  const side = Math.max(2, Math.ceil(Math.max(...base.hdr.dims.slice(1, 4)) / 8));
  const mix = () => {
    const place = Number(at("blend").value);
    const k = Math.min(Math.floor(place), Math.max(stored.length - 2, 0));
    const share = place - k;
    const [a, b] = [stored[k], stored[Math.min(k + 1, stored.length - 1)]];
    const how = at("compare").value;
    for (let i = 0; i < mixed.length; i++) {
      const now = a[i] + share * (b[i] - a[i]);
      if (how === "blend") mixed[i] = now;
      else if (how === "difference") mixed[i] = 127.5 + (now - stored[0][i]) / 2;
      else {
        const x = i % nx, y = Math.floor(i / nx) % ny, z = Math.floor(i / (nx * ny));
        const odd = (Math.floor(x / side) + Math.floor(y / side) + Math.floor(z / side)) % 2;
        mixed[i] = odd ? now : stored[0][i];
      }
    }
    const names = content.images.map((image) => image.name);
    const text = share === 0 ? names[k] : share === 1 ? names[k + 1]
      : `${names[k]} to ${names[k + 1]}, ${Math.round(100 * share)} %`;
    at("shown").textContent = text;
    at("blend").setAttribute("aria-valuetext", text);
    nv.updateGLVolume();
  };
  at("blend").max = Math.max(stored.length - 1, 0);
  at("images").querySelector("label").hidden = stored.length < 2;
  at("compare").parentElement.hidden = stored.length < 2;
  content.images.forEach((image, k) => {
    at("stops").append(new Option(image.name, k));
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = image.name;
    button.addEventListener("click", () => { at("blend").value = k; mix(); });
    at("names").append(button);
  });
  at("blend").addEventListener("input", mix);
  at("compare").addEventListener("input", mix);

  // window and colours
  const windowed = () => {
    const [low, high] = [Number(at("low").value), Number(at("high").value)];
    base.cal_min = 2.55 * Math.min(low, high - 1);
    base.cal_max = 2.55 * Math.max(high, low + 1);
    nv.updateGLVolume();
  };
  at("low").addEventListener("input", windowed);
  at("high").addEventListener("input", windowed);
  at("colours").addEventListener("input", () => nv.setColormap(base.id, at("colours").value));

  // the overlay
  let over = null;
  const loaded = new Map();
  const labelColours = {
    R: [0, ...content.labels.map((l) => l.colour[0])],
    G: [0, ...content.labels.map((l) => l.colour[1])],
    B: [0, ...content.labels.map((l) => l.colour[2])],
    A: [0, ...content.labels.map(() => 255)],
    I: [0, ...content.labels.map((_, k) => k + 1)],
    labels: ["", ...content.labels.map((l) => l.name)],
  };
  const key = (item) => {
    at("key").replaceChildren();
    if (item?.kind === "labels") {
      for (const label of content.labels) {
        const [entry, colour] = [document.createElement("span"), document.createElement("i")];
        colour.style.background = `rgb(${label.colour})`;
        entry.append(colour, label.name);
        at("key").append(entry);
      }
    } else if (item && item.kind in RAMPS && item.kind !== "lines") {
      const map = RAMPS[item.kind];
      const bar = document.createElement("b");
      bar.style.background = `linear-gradient(to right, ${map.R.map((r, k) => `rgb(${r},${map.G[k]},${map.B[k]})`)})`;
      at("key").append(bar, `${item.low.toPrecision(3)} to ${item.high.toPrecision(3)}`);
    }
  };
  // the voxels of each label that touch another
  const edges = (labels, dims) => {
    const steps = [1, dims[1], dims[1] * dims[2]];
    return labels.map((label, i) => {
      const inside = steps.every((step) => labels[i - step] === label && labels[i + step] === label);
      return inside ? 0 : label;
    });
  };
  const show = async () => {
    const item = content.overlays[at("overlay").value];
    if (over) nv.removeVolume(over.image);
    over = null;
    key(item);
    at("outline").parentElement.hidden = item?.kind !== "labels";
    if (!item) return;
    if (!loaded.has(item)) {
      const image = await read(item);
      if (item.kind === "labels") image.setColormapLabel(labelColours);
      else if (item.kind in RAMPS) {
        image.colormap = item.kind;
        [image.cal_min, image.cal_max] = item.kind === "lines" ? [1, 255] : [0, 255];
      }
      loaded.set(item, image);
    }
    over = { item, image: loaded.get(item) };
    if (item.kind === "labels") {
      item.whole ??= over.image.img;
      item.edges ??= edges(item.whole, over.image.hdr.dims);
      over.image.img = at("outline").checked ? item.edges : item.whole;
    }
    over.image.opacity = Number(at("opacity").value);
    nv.addVolume(over.image);
  };
  content.overlays.forEach((item, k) => at("overlay").append(new Option(item.name, k)));
  at("overlay").addEventListener("input", show);
  at("outline").addEventListener("input", show);
  at("outline").parentElement.hidden = true;
  at("opacity").addEventListener("input", () => {
    if (over) nv.setOpacity(nv.volumes.indexOf(over.image), Number(at("opacity").value));
  });

  // the place: sliders, the mouse and links lead there
  const axes = ["x", "y", "z"];
  // the middle of a voxel, so that no plane lies between two
  const counts = base.dimsRAS.slice(1, 4);
  const moved = () => {
    nv.scene.crosshairPos = axes.map((axis, k) => {
      const voxel = Math.min(Math.floor(Number(at(axis).value) * counts[k]), counts[k] - 1);
      return (voxel + 0.5) / counts[k];
    });
    nv.drawScene();
    tell(nv.frac2mm(nv.scene.crosshairPos));
  };
  const tell = (mm) => {
    const parts = axes.map((axis, k) => `${"RAS"[k]} ${mm[k].toFixed(1)}`);
    const words = [`${parts.join("  ")} mm`];
    if (over && over.item.kind !== "colours") {
      const drawn = over.image.img;
      over.image.img = over.item.whole ?? drawn; // the inside of an outline has its label
      const value = over.image.getValue(...over.image.mm2vox([mm[0], mm[1], mm[2]]).map(Math.round));
      over.image.img = drawn;
      if (over.item.kind === "labels") words.push(value ? labelColours.labels[value] : "no label");
      else if (over.item.kind !== "lines") {
        const { low, high } = over.item;
        words.push(`${over.item.name} ${(low + ((value - 1) / 254) * (high - low)).toPrecision(3)}`);
      }
    }
    at("place").textContent = words.join(", ");
  };
  axes.forEach((axis) => at(axis).addEventListener("input", moved));
  nv.onLocationChange = (data) => {
    axes.forEach((axis, k) => { at(axis).value = nv.scene.crosshairPos[k]; });
    tell(data.mm);
  };
  const goTo = (mm) => {
    nv.scene.crosshairPos = nv.mm2frac(mm);
    axes.forEach((axis, k) => { at(axis).value = nv.scene.crosshairPos[k]; });
    moved();
    canvas.scrollIntoView({ block: "center" });
  };
  for (const link of document.querySelectorAll("a[href^='#point-']")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      goTo(content.points[Number(link.hash.slice(7))]);
    });
  }
  at("view").addEventListener("input", () => nv.setSliceType(Number(at("view").value)));
  nv.setSliceType(3);
  if (planes) planes.open = false;
  moved();
  mix();
  // where there is nothing to slide between, what lies over the image is what one came for
  if (content.images.length === 1 && content.overlays.length) {
    at("overlay").value = 0;
    await show();
  }
  document.body.dataset.ready = "yes";
})();
