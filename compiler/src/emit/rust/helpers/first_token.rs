/// The token at the first place that is marked.
fn first_token<B: Backend>(x: Tensor<B, 3>, marked: Tensor<B, 2, Bool>) -> Tensor<B, 2> {
    let [batch, tokens, channels] = x.dims();
    // Earlier places weigh more, so that the first one is the largest.
    let weights = Tensor::<B, 1, Int>::arange(0..tokens as i64, &x.device()).reshape([1, tokens]) * -1 + tokens as i64;
    let places = (marked.int() * weights).argmax(1);
    let places: Tensor<B, 3, Int> = places.reshape([batch, 1, 1]);
    x.gather(1, places.expand([batch, 1, channels])).reshape([batch, channels])
}
